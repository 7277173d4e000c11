"""Downloads: fetches what a URL serves into memory or a file, resuming after interruptions.

One Download belongs to one task and one URL. `received` bytes are in the target, `total` is the full size if known,
and `validator` identifies the content: a strong ETag, otherwise Last-Modified.

    before a request
    received == 0                     GET
    received > 0 with a validator     GET with Range: bytes=<received>- and If-Range: <validator>
    received > 0 without one          start over: parts of two versions must not be joined

    response
    200                               the whole content: start over if there was some already
    206 from `received` on            append
    206 of another range              permanent error
    416 with total == received        complete already
    416 otherwise                     start over
    408 425 429 500 502 503 504       retry, not before Retry-After
    400 401 403 404 410               ResultExpired: the caller asks the provider for a new URL
    any other                         permanent error

Invariants: the target holds exactly `received` bytes when a request begins. Bytes are counted before they are passed
on, and a target keeps everything it was passed, also when the connection breaks. The content is complete when `total`
bytes arrived, or, if the server declared no size, when it ended the response.

A connection that breaks or stalls is retried up to five times with growing delays (retry.py). Progress of 64 KiB
since the last full set of retries earns a new one, so that a large file survives any number of interruptions while an
endless loop without progress is impossible. `max_bytes` is checked against the declared size first and against every
block that arrives. Errors and cancellation leave the target as it is; atomic_file deletes the part.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import aiohttp
from attrs import define, field

from ..errors import ResultExpired, TransferFailed
from ..media.base import ProgressCallback
from ..redaction import redact_url
from .atomic_file import PartialFile, write_blocks
from .budget import TransferBudget
from .retry import delays, respect_retry_after
from .url_guard import PermanentTransferError

_RETRY_RESET_BYTES = 1 << 16
"""Bytes of progress after which an interrupted download gets a full set of retries again."""
_EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})
"""How storage hosts answer for a signed URL that has expired or a file that was deleted."""
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d+)")

log = logging.getLogger("aiowatermark")


class UrlOpener(Protocol):
    """Opens URLs and reads their bodies; both methods raise TransferFailed or TimeoutError."""

    def open_url(self, url: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """GET a URL with these request headers and yield the response."""
        ...

    def read_blocks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        ...


class DownloadTarget(Protocol):
    """Where the bytes of a download are put."""

    async def write(self, blocks: AsyncIterator[bytes]) -> None:
        """Append the blocks; if iterating over them raises, keep those before and re-raise."""

    async def clear(self) -> None:
        """Discard everything that was written."""


class MemoryTarget:
    """Collects a download in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, blocks: AsyncIterator[bytes]) -> None:
        """Append the blocks."""
        async for block in blocks:
            self.data += block

    async def clear(self) -> None:
        """Discard everything that was written."""
        self.data.clear()


class FileTarget:
    """Writes a download to a file, off the event loop."""

    def __init__(self, part: PartialFile, budget: TransferBudget) -> None:
        self._file = part.file
        self._budget = budget

    async def write(self, blocks: AsyncIterator[bytes]) -> None:
        """Append the blocks."""
        await write_blocks(self._file, blocks, self._budget)

    async def clear(self) -> None:
        """Discard everything that was written."""
        await asyncio.to_thread(self._truncate)

    def _truncate(self) -> None:
        self._file.seek(0)
        self._file.truncate()


class _Retry(Exception):
    """The attempt failed and may be repeated, after `retry_after` seconds if the server asked for a delay."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@define(eq=False)
class Download:
    """One download; `received` of `total` bytes are in the target."""

    opener: UrlOpener
    url: str = field(repr=redact_url)
    max_bytes: int | None = None
    received: int = 0
    total: int | None = None
    validator: str | None = None
    progress: ProgressCallback | None = None

    async def run(self, target: DownloadTarget) -> None:
        """Fetch everything; raises ResultExpired if the URL is no longer served, TransferFailed if fetching fails."""
        retry_delays, received_at_reset = delays(), 0
        while True:
            try:
                return await self._attempt(target)
            except _Retry as retry:
                if self.received - received_at_reset >= _RETRY_RESET_BYTES:
                    retry_delays, received_at_reset = delays(), self.received
                delay = next(retry_delays, None)
                if delay is None:
                    received = f"{self.received} of {'unknown' if self.total is None else self.total} bytes came"
                    raise TransferFailed(
                        f"{redact_url(self.url)} could not be fetched whole, {received}: {retry}"
                    ) from None
                log.info("download of %s resumes at byte %d: %s", redact_url(self.url), self.received, retry)
                await asyncio.sleep(respect_retry_after(delay, retry.retry_after))

    async def _attempt(self, target: DownloadTarget) -> None:
        headers = {}
        if self.received and self.validator:
            headers = {"Range": f"bytes={self.received}-", "If-Range": self.validator}
        elif self.received:
            await self._start_over(target)
        try:
            async with self.opener.open_url(self.url, headers) as response:
                await self._receive(response, target)
        except PermanentTransferError:
            raise
        except TransferFailed as error:
            # only the reason behind the last colon: run() names the URL itself
            raise _Retry(error.message.rpartition(": ")[2]) from None
        if self.total is not None and self.received < self.total:
            raise _Retry("the connection was closed")

    async def _receive(self, response: aiohttp.ClientResponse, target: DownloadTarget) -> None:
        if response.status == 416 and (found := _UNSATISFIED_RANGE.match(response.headers.get("Content-Range", ""))):
            self.total = int(found[1])
            if self.received == self.total:
                return
        if response.status == 416:
            await self._start_over(target)
            raise _Retry("the server refused the requested range")
        self._check_status(response)
        if response.status == 200:
            if self.received:
                await self._start_over(target)
            self.total = response.content_length
        else:
            self._check_range(response)
        self.validator = self.validator or _validator(response)
        self._check_limit(self.total or 0)
        await target.write(self._count_blocks(response))

    def _check_status(self, response: aiohttp.ClientResponse) -> None:
        if response.status in _RETRYABLE_STATUSES:
            retry_after = response.headers.get("Retry-After", "")
            raise _Retry(f"HTTP {response.status}", float(retry_after) if retry_after.isdecimal() else None)
        if response.status in _EXPIRED_STATUSES:
            raise ResultExpired(f"{redact_url(self.url)} is no longer available: HTTP {response.status}")
        if response.status not in {200, 206}:
            raise PermanentTransferError(f"{redact_url(self.url)} returned HTTP {response.status}")

    def _check_range(self, response: aiohttp.ClientResponse) -> None:
        found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != self.received:
            raise PermanentTransferError(f"{redact_url(self.url)} returned another range than the requested one")
        self.total = int(found[2]) if found[2] != "*" else self.total

    async def _count_blocks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        async for block in self.opener.read_blocks(response):
            self.received += len(block)
            if self.max_bytes is not None:
                self._check_limit(self.received)
            if self.progress is not None:
                self.progress(self.received, self.total)
            yield block

    def _check_limit(self, size: int) -> None:
        if self.max_bytes is not None and size > self.max_bytes:
            raise PermanentTransferError(f"{redact_url(self.url)} has more than the {self.max_bytes} bytes allowed")

    async def _start_over(self, target: DownloadTarget) -> None:
        self.received, self.validator = 0, None
        await target.clear()


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """Return what If-Range may carry: a strong ETag, otherwise Last-Modified."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")
