"""The pretended storage host: signed links down and up, ranges, and no patience with stray credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

from aiohttp import StreamReader, web
from attrs import define, field

from ..backend.threads import Threads
from ..web.responses import Answer, Reason, Refusal
from ..web.routes import Route
from .objects import Shelf, Stored, Upload

_STRAY = ("Authorization", "X-API-KEY", "Cookie")
_BATCH = 4 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CODES: Mapping[Reason, tuple[int, str]] = {
    Reason.METHOD: (405, "MethodNotAllowed"),
    Reason.KEY: (400, "InvalidArgument"),
    Reason.PARAMETER: (400, "IncompleteBody"),
    Reason.TOO_LARGE: (413, "EntityTooLarge"),
    Reason.UNKNOWN_TASK: (404, "NoSuchKey"),
    Reason.SIGNATURE: (403, "SignatureDoesNotMatch"),
    Reason.LENGTH: (411, "MissingContentLength"),
    # Google's host says so with a 400 (cloud.google.com/storage/docs/xml-api/reference-status)
    Reason.EXPIRED: (400, "ExpiredToken"),
}
# Aliyun's, where gpt.ge's results lie, says it with a 403 (help.aliyun.com, OSS, AccessDenied)
_EXPIRED_ELSEWHERE = (403, "AccessDenied")
_GOOGLE = "dewatermark"


@define
class Storage:
    """One surface for all signed links; `leaks` counts the requests that carried a credential."""

    shelf: Shelf
    files: Threads
    leaks: int = field(init=False, default=0)

    def routes(self) -> tuple[Route, ...]:
        """The paths of the storage host."""
        return (
            Route(("GET", "HEAD"), "/lent/{token}/{name}", None, self.download),
            Route(("GET", "HEAD"), "/{provider}/results/{name}", "result", self.download_signed),
            Route(("PUT",), "/{provider}/uploads/{name}", "upload", self.upload),
        )

    def provider_of(self, request: web.Request) -> str | None:
        """The provider whose result or upload the path names."""
        return request.match_info.get("provider")

    def admit(self, request: web.Request) -> None:
        """Refuse credentials that have no business here."""
        stray = [name for name in _STRAY if name in request.headers]
        if stray:
            self.leaks += 1
            raise Refusal(Reason.KEY, f"{', '.join(stray)} has no business on a signed link.")

    def refused(self, request: web.Request, refusal: Refusal) -> Answer:
        """An XML error, as storage hosts send it."""
        status, code = _CODES[refusal.reason]
        if refusal.reason is Reason.EXPIRED and self.provider_of(request) != _GOOGLE:
            status, code = _EXPIRED_ELSEWHERE
        return _error(status, code, refusal.sentence)

    def failing(self, status: int) -> Answer:
        """An XML error with this status."""
        return _error(status, "InternalError", "We encountered an internal error. Please try again.")

    async def download(self, request: web.Request) -> Answer:
        """A file, or the range of it that is asked for (RFC 9110, section 14)."""
        stored = self.shelf.find(request.path)
        if stored is None:
            raise Refusal(Reason.UNKNOWN_TASK, "The specified key does not exist.")
        return _ranged(stored, request.headers)

    async def download_signed(self, request: web.Request) -> Answer:
        """The same behind a signature."""
        self.shelf.signer.check(request.raw_path, "read")
        return await self.download(request)

    async def upload(self, request: web.Request) -> Answer:
        """Take a file as the documents of the video API say: PUT, octet-stream, a length, the link as it was given."""
        self.shelf.signer.check(request.raw_path, "write")
        upload = self.shelf.find_upload(request.path)
        if upload is None:
            raise Refusal(Reason.UNKNOWN_TASK, "The specified key does not exist.")
        if request.headers.get("Content-Type") != "application/octet-stream":
            raise Refusal(Reason.SIGNATURE, "Content-Type is signed and has to be application/octet-stream.")
        if request.content_length is None:
            raise Refusal(Reason.LENGTH, "You must provide the Content-Length HTTP header.")
        await self._receive(request.content, request.content_length, upload)
        return Answer(200, content_type="text/plain", headers={"ETag": f'"{upload.size:x}"'})

    async def _receive(self, content: StreamReader, length: int, upload: Upload) -> None:
        part = self.shelf.new_file("part")
        try:
            size = await self._write(content, part)
            if size != length:
                raise Refusal(Reason.PARAMETER, "The body is shorter than its Content-Length.")
            await self.files.run(part.replace, upload.target)
            upload.size = size
        finally:
            await self.files.run(part.unlink, missing_ok=True)

    async def _write(self, content: StreamReader, path: Path) -> int:
        """Write what comes in batches, off the loop; gives the number of bytes."""
        size = 0
        file = await self.files.run(path.open, "wb", 0)
        try:
            while batch := await _gather(content):
                await self.files.run(_write_all, file, batch)
                size += len(batch)
        finally:
            await self.files.run(file.close)
        return size


async def _gather(content: StreamReader) -> bytearray:
    batch = bytearray()
    while len(batch) < _BATCH:
        block = await content.readany()
        if not block:
            break
        batch += block
    return batch


def _write_all(file: BinaryIO, batch: bytearray) -> None:
    view = memoryview(batch)
    while view:
        view = view[file.write(view) :]


def _ranged(stored: Stored, headers: Mapping[str, str]) -> Answer:
    common = {"Accept-Ranges": "bytes", "ETag": stored.etag}
    wanted = _RANGE.fullmatch(headers.get("Range", ""))
    if wanted is None or headers.get("If-Range", stored.etag) != stored.etag:
        return stored.answer(200, 0, stored.size, common)
    first, stop = _bounds(wanted[1], wanted[2], stored.size)
    if first >= stop:
        return Answer(416, content_type="text/plain", headers={**common, "Content-Range": f"bytes */{stored.size}"})
    span = {"Content-Range": f"bytes {first}-{stop - 1}/{stored.size}"}
    return stored.answer(206, first, stop, {**common, **span})


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last or 0)), size if last else 0
    return int(first), min(size, int(last) + 1) if last else size


def _error(status: int, code: str, message: str) -> Answer:
    text = "<?xml version='1.0' encoding='UTF-8'?>"
    text += f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Answer(status, text.encode(), "application/xml")
