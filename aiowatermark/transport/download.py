"""A link's bytes, all of them: resumed where a download was cut, started over where that cannot be."""

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
from .retry import delays, respect_retry_after
from .url_guard import PermanentTransferError

_PROGRESS_INTERVAL = 1 << 16
"""Bytes after which a cut download has earned a full set of tries again."""
_EXPIRED_STATUSES = frozenset({401, 403, 404, 410})
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_TOTAL = re.compile(r"bytes \*/(\d+)")

log = logging.getLogger("aiowatermark")


class _Retry(Exception):
    """The download goes on after a pause."""

    def __init__(self, reason: str, hint: float | None = None) -> None:
        super().__init__(reason)
        self.hint = hint


class LinkOpener(Protocol):
    """Where links are opened and read; both raise TransferFailed or TimeoutError where nothing comes."""

    def open_link(self, url: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Open a link with request headers."""
        ...

    def read_blocks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """What comes."""
        ...


@define(eq=False)
class Download:
    """One link on its way into a sink; `got` bytes of `total` are there."""

    opener: LinkOpener
    url: str = field(repr=redact_url)
    max_bytes: int | None = None
    received: int = 0
    total: int | None = None
    validator: str | None = None
    progress: ProgressCallback | None = None

    async def run(self, sink: DownloadTarget) -> None:
        """Fetch everything; raises ResultExpired where the link is gone, TransferFailed where it cannot be had."""
        pauses, before = delays(), 0
        while True:
            try:
                return await self._attempt(sink)
            except _Retry as again:
                if self.received - before >= _PROGRESS_INTERVAL:
                    pauses, before = delays(), self.received
                pause = next(pauses, None)
                if pause is None:
                    came = f"{self.received} of {'unknown' if self.total is None else self.total} bytes came"
                    raise TransferFailed(
                        f"{redact_url(self.url)} could not be fetched whole, {came}: {again}"
                    ) from None
                log.info("the download of %s goes on at byte %d: %s", redact_url(self.url), self.received, again)
                await asyncio.sleep(respect_retry_after(pause, again.hint))

    async def _attempt(self, sink: DownloadTarget) -> None:
        headers = {}
        if self.received and self.validator:
            headers = {"Range": f"bytes={self.received}-", "If-Range": self.validator}
        elif self.received:
            await self._restart(sink)
        try:
            async with self.opener.open_link(self.url, headers) as answer:
                await self._receive(answer, sink)
        except PermanentTransferError:
            raise
        except TransferFailed as error:
            raise _Retry(error.message.rpartition(": ")[2]) from None
        if self.total is not None and self.received < self.total:
            raise _Retry("the connection was closed")

    async def _receive(self, answer: aiohttp.ClientResponse, sink: DownloadTarget) -> None:
        if answer.status == 416 and (found := _TOTAL.match(answer.headers.get("Content-Range", ""))):
            self.total = int(found[1])
            if self.received == self.total:
                return
        if answer.status == 416:
            await self._restart(sink)
            raise _Retry("the range is not to be had")
        self._check_status(answer)
        if answer.status == 200:
            if self.received:
                await self._restart(sink)
            self.total = answer.content_length
        else:
            self._resume(answer)
        self.validator = self.validator or _validator(answer)
        self._check_limit(self.total or 0)
        await sink.write(self._count_blocks(answer))

    def _check_status(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status in _RETRYABLE_STATUSES:
            hint = answer.headers.get("Retry-After", "")
            raise _Retry(f"HTTP {answer.status}", float(hint) if hint.isdecimal() else None)
        if answer.status in _EXPIRED_STATUSES or answer.status == 400:
            raise ResultExpired(f"{redact_url(self.url)} is not to be had any more: HTTP {answer.status}")
        if answer.status not in {200, 206}:
            raise PermanentTransferError(f"{redact_url(self.url)} answers HTTP {answer.status}")

    def _resume(self, answer: aiohttp.ClientResponse) -> None:
        found = _RANGE.match(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != self.received:
            raise PermanentTransferError(f"{redact_url(self.url)} answers with another range than was asked for")
        self.total = int(found[2]) if found[2] != "*" else self.total

    async def _count_blocks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        async for block in self.opener.read_blocks(answer):
            self.received += len(block)
            if self.max_bytes is not None:
                self._check_limit(self.received)
            if self.progress is not None:
                self.progress(self.received, self.total)
            yield block

    def _check_limit(self, size: int) -> None:
        if self.max_bytes is not None and size > self.max_bytes:
            raise PermanentTransferError(
                f"{redact_url(self.url)} has more than the {self.max_bytes} bytes that were allowed"
            )

    async def _restart(self, sink: DownloadTarget) -> None:
        self.received, self.validator = 0, None
        await sink.clear()


def _validator(answer: aiohttp.ClientResponse) -> str | None:
    """What If-Range may carry: a strong ETag, else the time of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


class DownloadTarget(Protocol):
    """Where a download goes."""

    async def write(self, blocks: AsyncIterator[bytes]) -> None:
        """Keep what comes, behind what is there."""

    async def clear(self) -> None:
        """Begin again."""


class MemoryTarget:
    """A download in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, blocks: AsyncIterator[bytes]) -> None:
        """Keep what comes."""
        async for block in blocks:
            self.data += block

    async def clear(self) -> None:
        """Begin again."""
        self.data.clear()


class FileTarget:
    """A download on disk."""

    def __init__(self, part: PartialFile) -> None:
        self._file = part.file

    async def write(self, blocks: AsyncIterator[bytes]) -> None:
        """Write what comes, off the loop."""
        await write_blocks(self._file, blocks)

    async def clear(self) -> None:
        """Begin again."""
        await asyncio.to_thread(self._truncate)

    def _truncate(self) -> None:
        self._file.seek(0)
        self._file.truncate()
