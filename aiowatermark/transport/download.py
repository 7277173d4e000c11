"""Downloads: fetches what a URL serves into memory or a file, resuming after interruptions.

One Download belongs to one task and one URL. `received` bytes are in the target, `total` is the full size if known,
and `validator` identifies the content: a strong ETag, otherwise Last-Modified. Bytes of several responses are joined
only if they are certainly of one representation (representation.py).

    before a request
    received == 0                     GET
    received > 0 with a validator     GET with Range: bytes=<received>- and If-Range: <validator>
    received > 0 without one          start over: parts of two versions must not be joined

    response
    200, whole                        start over if there was something already
    206 that continues what is there  append
    206 or 200 with any other range   start over, and ask for no range any more
    412 416                           start over
    408 425 429 500 502 503 504       retry, not before Retry-After, at most two minutes later
    400 401 403 404 410               ResultExpired: the caller asks the provider for a new URL
    any other                         permanent error

    all bytes received
    the check finds a problem         start over: an error page, for example, is served for a moment only
    it finds none                     done

Invariants: the target holds exactly `received` bytes when a request begins. Bytes are counted before they are passed
on, and a target keeps everything it was passed, also when the connection breaks. The content is complete when `total`
bytes arrived, or, if the server declared no size, when it ended the response; then only the check can tell.

A connection that breaks, stalls or is too slow is retried up to five times with growing delays (retry.py). Progress of
64 KiB since the last full set of retries earns a new one, so that a large file survives any number of interruptions
while an endless loop without progress is impossible; starting over is possible five times in all. `max_bytes` is
checked against the declared size first and against every block that arrives. An attempt has a slot while it runs, and
none while it waits for the next one. Errors and cancellation leave the target as it is; atomic_file deletes the part.
"""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import aiohttp
from attrs import define, field

from ..clock import active, pause
from ..errors import ResultExpired, TransferFailed
from ..media.base import ProgressCallback
from ..media.inspection import ResultCheck
from ..observation.events import DOWNLOAD_RESUMED, write
from ..redaction import redact_url
from ..wire import parse_retry_after
from .atomic_file import write_blocks
from .budget import Pace, TransferBudget
from .representation import ResponseHead, decode_blocks
from .retry import MAX_ATTEMPTS, delays, respect_retry_after
from .targets import SUFFIX_BY_FORMAT, PartialFile
from .url_guard import PermanentTransferError

READ_LIMIT = 256 << 20
"""Bytes that are read into memory, and that an encoded result is decoded to, unless `max_bytes` allows more."""
_RETRY_RESET_BYTES = 1 << 16
"""Bytes of progress after which an interrupted download gets a full set of retries again."""
_EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})
"""How storage hosts answer for a signed URL that has expired or a file that was deleted."""
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE_STATUSES = frozenset({412, 416})
_MAX_WAIT = 120.0
"""Seconds of the longest wait that a host may ask for: the caller waits for the file."""


class UrlOpener(Protocol):
    """Opens URLs and reads their bodies; both methods raise TransferFailed or TimeoutError."""

    @property
    def slots(self) -> asyncio.Semaphore:
        """What limits how many attempts run at once."""
        ...

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

    async def examine(self, check: ResultCheck, *, declared: bool) -> str | None:
        """Return what the check says of everything that was written."""
        ...


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

    async def examine(self, check: ResultCheck, *, declared: bool) -> str | None:
        """Return what the check says of the data."""
        return await asyncio.to_thread(check.examine, self.data, declared=declared)


class FileTarget:
    """Writes a download to a file, off the event loop."""

    def __init__(self, part: PartialFile, budget: TransferBudget | None = None) -> None:
        self._part = part
        self._budget = budget

    async def write(self, blocks: AsyncIterator[bytes]) -> None:
        """Append the blocks."""
        await write_blocks(self._part.file, blocks, self._budget)

    async def clear(self) -> None:
        """Discard everything that was written."""
        await asyncio.to_thread(self._truncate)

    def _truncate(self) -> None:
        self._part.file.seek(0)
        self._part.file.truncate()

    async def examine(self, check: ResultCheck, *, declared: bool) -> str | None:
        """Return what the check says of the file, and note the suffix of its format."""
        return await asyncio.to_thread(self._examine, check, declared=declared)

    def _examine(self, check: ResultCheck, *, declared: bool) -> str | None:
        self._part.file.flush()
        size = self._part.file.seek(0, 2)
        if not size:
            return check.examine(b"", declared=declared)
        with mmap.mmap(self._part.file.fileno(), size, access=mmap.ACCESS_READ) as content:
            problem = check.examine(content, declared=declared)
        if check.info is not None:
            self._part.suffix = SUFFIX_BY_FORMAT.get(check.info.format or "")
        return problem


class _Retry(Exception):
    """The attempt failed and may be repeated, after `retry_after` seconds if the server asked for a delay."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class _StartOver(_Retry):
    """The attempt may be repeated, and what was received is of no use."""


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
    check: ResultCheck | None = None
    _restarts: int = field(default=0, init=False)
    _ranges_refused: bool = field(default=False, init=False)

    async def run(self, target: DownloadTarget) -> None:
        """Fetch everything; raises ResultExpired if the URL is no longer served, TransferFailed if fetching fails."""
        retry_delays, received_at_reset = delays(), 0
        while True:
            try:
                await self._attempt(target)
                return await self._examine(target)
            except _Retry as retry:
                if self.received - received_at_reset >= _RETRY_RESET_BYTES:
                    retry_delays, received_at_reset = delays(), self.received
                delay = next(retry_delays, None)
                if delay is None or (isinstance(retry, _StartOver) and self._restarts >= MAX_ATTEMPTS - 1):
                    raise self._failure(retry) from None
                if isinstance(retry, _StartOver):
                    self._restarts += 1
                    received_at_reset = 0
                    await self._start_over(target)
                facts = {"url": redact_url(self.url), "byte": self.received, "reason": str(retry)}
                write(DOWNLOAD_RESUMED, facts)
                wait = None if retry.retry_after is None else min(retry.retry_after, _MAX_WAIT)
                await pause(respect_retry_after(delay, wait))

    def _failure(self, retry: _Retry) -> TransferFailed:
        received = f"{self.received} of {'unknown' if self.total is None else self.total} bytes came"
        return TransferFailed(f"{redact_url(self.url)} could not be fetched whole, {received}: {retry}")

    async def _examine(self, target: DownloadTarget) -> None:
        """Raise _StartOver if what came is not the result."""
        if self.check is None:
            return
        problem = await target.examine(self.check, declared=self.total is not None)
        if problem is not None:
            raise _StartOver(problem)

    async def _attempt(self, target: DownloadTarget) -> None:
        headers = {}
        if self.received and self.validator and not self._ranges_refused:
            headers = {"Range": f"bytes={self.received}-", "If-Range": self.validator}
        elif self.received:
            await self._start_over(target)
        try:
            with active():
                async with Pace(self.opener.slots) as pace, self.opener.open_url(self.url, headers) as response:
                    await self._receive(response, target, pace)
        except PermanentTransferError:
            raise
        except TransferFailed as error:
            # only the reason behind the last colon: run() names the URL itself
            raise _Retry(error.message.rpartition(": ")[2]) from None
        if self.total is not None and self.received < self.total:
            raise _Retry("the connection was closed")

    async def _receive(self, response: aiohttp.ClientResponse, target: DownloadTarget, pace: Pace) -> None:
        self._check_status(response)
        head = ResponseHead(response.status, response.headers, response.content_length)
        if head.status == 206 and self.received:
            if problem := head.continuation_problem(self.received, self.total, self.validator):
                self._ranges_refused = True
                raise _StartOver(problem)
            self.total = self.total if head.total is None else head.total
        else:
            await self._begin(head, target)
        limit = READ_LIMIT if head.encoding and self.max_bytes is None else self.max_bytes
        self._check_limit(self.total or 0, limit)
        blocks = self.opener.read_blocks(response)
        if head.encoding:
            blocks = decode_blocks(blocks, head.encoding)
        await target.write(self._count_blocks(blocks, pace, head.end, limit))

    async def _begin(self, head: ResponseHead, target: DownloadTarget) -> None:
        """Prepare for a whole representation; raises _StartOver if the response is none."""
        if problem := head.whole_problem():
            self._ranges_refused = True
            raise _StartOver(problem)
        known = None not in {self.validator, self.total, head.total}
        if known and head.validator == self.validator and head.total != self.total:
            raise _StartOver(f"the result's length changed from {self.total} to {head.total}")
        if self.received:
            await self._start_over(target)
        self.total = head.total
        # the ranges of an encoded representation are not those of what is decoded from it
        self.validator = None if head.encoding else head.validator

    def _check_status(self, response: aiohttp.ClientResponse) -> None:
        status = f"HTTP {response.status}"
        if response.status in _RETRYABLE_STATUSES:
            raise _Retry(status, parse_retry_after(response.headers.get("Retry-After"), response.headers.get("Date")))
        if response.status in _RANGE_STATUSES:
            raise _StartOver(f"the server refused the requested range: {status}")
        if response.status in _EXPIRED_STATUSES:
            raise ResultExpired(f"{redact_url(self.url)} is no longer available: {status}")
        if response.status not in {200, 206}:
            raise PermanentTransferError(f"{redact_url(self.url)} returned {status}")

    async def _count_blocks(
        self, blocks: AsyncIterator[bytes], pace: Pace, end: int | None, limit: int | None
    ) -> AsyncIterator[bytes]:
        async for block in blocks:
            self.received += len(block)
            if end is not None and self.received > end:
                raise _StartOver("more bytes came than were announced")
            if limit is not None:
                self._check_limit(self.received, limit)
            if self.progress is not None:
                self.progress(self.received, self.total)
            yield block
            if not pace.add(len(block)):
                raise _Retry("it arrives too slowly")

    def _check_limit(self, size: int, limit: int | None) -> None:
        if limit is not None and size > limit:
            raise PermanentTransferError(
                f"{redact_url(self.url)} has more than the {limit} bytes allowed: pass a larger max_bytes="
            )

    async def _start_over(self, target: DownloadTarget) -> None:
        self.received, self.total, self.validator = 0, None, None
        await target.clear()
