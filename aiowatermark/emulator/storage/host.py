"""Storage host: serves results, uploads and hosted files behind signed URLs, as the providers' storage hosts do.

    method     path                              access
    GET HEAD   /lent/{token}/{name}              the random token in the path; for inputs that a test hosts
    GET HEAD   /{provider}/results/{name}        signature for "read", with an expiry
    PUT        /{provider}/uploads/{name}        signature for "write", with an expiry

Checks, in this order; the first one that fails answers with an XML error:

    method                                    405 MethodNotAllowed
    no credential headers                     400 InvalidArgument, and `leaks` counts it: an SDK must not send
                                              credentials to signed URLs
    signature, byte for byte                  403 SignatureDoesNotMatch
    expiry                                    400 ExpiredToken for Dewatermark, which stores at Google;
                                              403 AccessDenied for the others, as Aliyun answers
    the object exists                         404 NoSuchKey
    upload: application/octet-stream          403 SignatureDoesNotMatch, because the header is part of the signature
    upload: a Content-Length                  411 MissingContentLength
    upload: that many bytes arrive            400 IncompleteBody

Downloads answer a single byte range with 206, or 416 behind the end; a range of another form, or one whose `If-Range`
differs from the ETag, is ignored and answered with 200 and the whole file (RFC 9110, sections 13.1.5 and 14.2).

An upload is written to a part file of its own and renamed when it is complete. So concurrent uploads to one URL never
mix, the last one that completes is kept, and an upload that is cancelled or breaks off changes nothing; its part file
is removed. Bytes are collected into batches of 4 MiB, each written in a thread: writing 1 GiB so takes 0.83 s of CPU
time (measured for downloads on loopback), against 1.16 s with one call per MiB.
"""

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
_BATCH_BYTES = 4 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_ERRORS: Mapping[ErrorReason, tuple[int, str]] = {
    ErrorReason.METHOD: (405, "MethodNotAllowed"),
    ErrorReason.KEY: (400, "InvalidArgument"),
    ErrorReason.PARAMETER: (400, "IncompleteBody"),
    ErrorReason.TOO_LARGE: (413, "EntityTooLarge"),
    ErrorReason.UNKNOWN_TASK: (404, "NoSuchKey"),
    ErrorReason.SIGNATURE: (403, "SignatureDoesNotMatch"),
    ErrorReason.LENGTH: (411, "MissingContentLength"),
    # Google Cloud Storage (cloud.google.com/storage/docs/xml-api/reference-status)
    ErrorReason.EXPIRED: (400, "ExpiredToken"),
}
# Aliyun OSS (help.aliyun.com, OSS, AccessDenied)
_EXPIRED_AT_ALIYUN = (403, "AccessDenied")
_STORED_AT_GOOGLE = "dewatermark"


@define
class StorageHost:
    """The surface of all signed URLs; `leaks` counts the requests that carried a credential."""

    objects: ObjectStore
    file_pool: ThreadPool
    leaks: int = field(init=False, default=0)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of hosted files, results and uploads."""
        return (
            Route(("GET", "HEAD"), "/lent/{token}/{name}", None, self.download),
            Route(("GET", "HEAD"), "/{provider}/results/{name}", "result", self.download_signed),
            Route(("PUT",), "/{provider}/uploads/{name}", "upload", self.upload),
        )

    def provider_of(self, request: web.Request) -> str | None:
        """Return the provider that the path names; None for a hosted file."""
        return request.match_info.get("provider")

    def authenticate(self, request: web.Request) -> None:
        """Raise ApiError when the request carries a credential."""
        credentials = [name for name in _CREDENTIAL_HEADERS if name in request.headers]
        if credentials:
            self.leaks += 1
            raise ApiError(ErrorReason.KEY, f"{', '.join(credentials)} must not be sent to a signed URL.")

    def error_response(self, request: web.Request, error: ApiError) -> ApiResponse:
        """Return an XML error, as storage hosts send it."""
        status, code = _ERRORS[error.reason]
        if error.reason is ErrorReason.EXPIRED and self.provider_of(request) != _STORED_AT_GOOGLE:
            status, code = _EXPIRED_AT_ALIYUN
        return _xml_error(status, code, error.message)

    def server_error(self, status: int) -> ApiResponse:
        """Return an XML error with this status."""
        return _xml_error(status, "InternalError", "We encountered an internal error. Please try again.")

    async def download(self, request: web.Request) -> ApiResponse:
        """Return a file, or the range of it that the request names."""
        stored = self.objects.find(request.path)
        if stored is None:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "The specified key does not exist.")
        return _range_response(stored, request.headers)

    async def download_signed(self, request: web.Request) -> ApiResponse:
        """Verify the signature, then return the file."""
        # raw_path: the signature covers the path and the query as they were sent, before any decoding
        self.objects.signer.verify(request.raw_path, "read")
        return await self.download(request)

    async def upload(self, request: web.Request) -> ApiResponse:
        """Store a file that is sent as the video documents require: octet-stream, with a length, to the exact URL."""
        self.objects.signer.verify(request.raw_path, "write")
        upload = self.objects.find_upload(request.path)
        if upload is None:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "The specified key does not exist.")
        if request.headers.get("Content-Type") != "application/octet-stream":
            raise ApiError(ErrorReason.SIGNATURE, "Content-Type is signed and must be application/octet-stream.")
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
        """Write the body to a file in a thread, batch by batch; return the number of bytes."""
        size = 0
        # unbuffered: a batch is larger than any buffer
        file = await self.file_pool.run(path.open, "wb", 0)
        try:
            while batch := await _read_batch(content):
                await self.file_pool.run(_write_all, file, batch)
                size += len(batch)
        finally:
            await self.file_pool.run(file.close)
        return size


async def _read_batch(content: StreamReader) -> bytearray:
    batch = bytearray()
    while len(batch) < _BATCH_BYTES:
        block = await content.readany()
        if not block:
            break
        batch += block
    return batch


def _write_all(file: BinaryIO, batch: bytearray) -> None:
    view = memoryview(batch)
    # an unbuffered file may write fewer bytes than it is given
    while view:
        view = view[file.write(view) :]


def _range_response(stored: StoredObject, headers: Mapping[str, str]) -> ApiResponse:
    common = {"Accept-Ranges": "bytes", "ETag": stored.etag}
    byte_range = _RANGE.fullmatch(headers.get("Range", ""))
    if byte_range is None or headers.get("If-Range", stored.etag) != stored.etag:
        return stored.response(200, 0, stored.size, common)
    start, stop = _resolve_range(byte_range[1], byte_range[2], stored.size)
    if start >= stop:
        headers_416 = {**common, "Content-Range": f"bytes */{stored.size}"}
        return ApiResponse(416, content_type="text/plain", headers=headers_416)
    content_range = {"Content-Range": f"bytes {start}-{stop - 1}/{stored.size}"}
    return stored.response(206, start, stop, {**common, **content_range})


def _resolve_range(first: str, last: str, size: int) -> tuple[int, int]:
    """Return start and stop of a range; start is not below stop when it selects no bytes."""
    if not first:
        # "bytes=-n": the last n bytes
        return max(0, size - int(last or 0)), size if last else 0
    return int(first), min(size, int(last) + 1) if last else size


def _xml_error(status: int, code: str, message: str) -> ApiResponse:
    text = "<?xml version='1.0' encoding='UTF-8'?>"
    text += f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return ApiResponse(status, text.encode(), "application/xml")
