"""The pretended storage host: signed links down and up, ranges, and no patience with stray credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

from aiohttp import StreamReader, web
from attrs import define, field

from ..backend.threads import ThreadPool
from ..web.responses import ApiError, ApiResponse, ErrorReason
from ..web.routes import Route
from .objects import ObjectStore, StoredObject, Upload

_CREDENTIAL_HEADERS = ("Authorization", "X-API-KEY", "Cookie")
_BATCH = 4 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CODES: Mapping[ErrorReason, tuple[int, str]] = {
    ErrorReason.METHOD: (405, "MethodNotAllowed"),
    ErrorReason.KEY: (400, "InvalidArgument"),
    ErrorReason.PARAMETER: (400, "IncompleteBody"),
    ErrorReason.TOO_LARGE: (413, "EntityTooLarge"),
    ErrorReason.UNKNOWN_TASK: (404, "NoSuchKey"),
    ErrorReason.SIGNATURE: (403, "SignatureDoesNotMatch"),
    ErrorReason.LENGTH: (411, "MissingContentLength"),
    # Google's host says so with a 400 (cloud.google.com/storage/docs/xml-api/reference-status)
    ErrorReason.EXPIRED: (400, "ExpiredToken"),
}
# Aliyun's, where gpt.ge's results lie, says it with a 403 (help.aliyun.com, OSS, AccessDenied)
_EXPIRED_ELSEWHERE = (403, "AccessDenied")
_GOOGLE = "dewatermark"


@define
class StorageHost:
    """One surface for all signed links; `leaks` counts the requests that carried a credential."""

    objects: ObjectStore
    file_pool: ThreadPool
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

    def authenticate(self, request: web.Request) -> None:
        """Refuse credentials that have no business here."""
        stray = [name for name in _CREDENTIAL_HEADERS if name in request.headers]
        if stray:
            self.leaks += 1
            raise ApiError(ErrorReason.KEY, f"{', '.join(stray)} has no business on a signed link.")

    def error_response(self, request: web.Request, refusal: ApiError) -> ApiResponse:
        """An XML error, as storage hosts send it."""
        status, code = _CODES[refusal.reason]
        if refusal.reason is ErrorReason.EXPIRED and self.provider_of(request) != _GOOGLE:
            status, code = _EXPIRED_ELSEWHERE
        return _error(status, code, refusal.message)

    def server_error(self, status: int) -> ApiResponse:
        """An XML error with this status."""
        return _error(status, "InternalError", "We encountered an internal error. Please try again.")

    async def download(self, request: web.Request) -> ApiResponse:
        """A file, or the range of it that is asked for (RFC 9110, section 14)."""
        stored = self.objects.find(request.path)
        if stored is None:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "The specified key does not exist.")
        return _range_response(stored, request.headers)

    async def download_signed(self, request: web.Request) -> ApiResponse:
        """The same behind a signature."""
        self.objects.signer.verify(request.raw_path, "read")
        return await self.download(request)

    async def upload(self, request: web.Request) -> ApiResponse:
        """Take a file as the documents of the video API say: PUT, octet-stream, a length, the link as it was given."""
        self.objects.signer.verify(request.raw_path, "write")
        upload = self.objects.find_upload(request.path)
        if upload is None:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "The specified key does not exist.")
        if request.headers.get("Content-Type") != "application/octet-stream":
            raise ApiError(ErrorReason.SIGNATURE, "Content-Type is signed and has to be application/octet-stream.")
        if request.content_length is None:
            raise ApiError(ErrorReason.LENGTH, "You must provide the Content-Length HTTP header.")
        await self._receive(request.content, request.content_length, upload)
        return ApiResponse(200, content_type="text/plain", headers={"ETag": f'"{upload.size:x}"'})

    async def _receive(self, content: StreamReader, length: int, upload: Upload) -> None:
        part = self.objects.new_file("part")
        try:
            size = await self._write(content, part)
            if size != length:
                raise ApiError(ErrorReason.PARAMETER, "The body is shorter than its Content-Length.")
            await self.file_pool.run(part.replace, upload.target)
            upload.size = size
        finally:
            await self.file_pool.run(part.unlink, missing_ok=True)

    async def _write(self, content: StreamReader, path: Path) -> int:
        """Write what comes in batches, off the loop; gives the number of bytes."""
        size = 0
        file = await self.file_pool.run(path.open, "wb", 0)
        try:
            while batch := await _batches(content):
                await self.file_pool.run(_write_all, file, batch)
                size += len(batch)
        finally:
            await self.file_pool.run(file.close)
        return size


async def _batches(content: StreamReader) -> bytearray:
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


def _range_response(stored: StoredObject, headers: Mapping[str, str]) -> ApiResponse:
    common = {"Accept-Ranges": "bytes", "ETag": stored.etag}
    wanted = _RANGE.fullmatch(headers.get("Range", ""))
    if wanted is None or headers.get("If-Range", stored.etag) != stored.etag:
        return stored.answer(200, 0, stored.size, common)
    first, stop = _bounds(wanted[1], wanted[2], stored.size)
    if first >= stop:
        return ApiResponse(
            416, content_type="text/plain", headers={**common, "Content-Range": f"bytes */{stored.size}"}
        )
    span = {"Content-Range": f"bytes {first}-{stop - 1}/{stored.size}"}
    return stored.answer(206, first, stop, {**common, **span})


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last or 0)), size if last else 0
    return int(first), min(size, int(last) + 1) if last else size


def _error(status: int, code: str, message: str) -> ApiResponse:
    text = "<?xml version='1.0' encoding='UTF-8'?>"
    text += f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return ApiResponse(status, text.encode(), "application/xml")
