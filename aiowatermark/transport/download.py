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
from ..media.base import redacted
from .atomic_file import Part, write_blocks
from .body import Progress
from .retry import delays, obeyed
from .url_guard import Refused

_PROGRESS = 1 << 16
"""Bytes after which a cut download has earned a full set of tries again."""
_GONE = frozenset({401, 403, 404, 410})
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_TOTAL = re.compile(r"bytes \*/(\d+)")

log = logging.getLogger("aiowatermark")


class _Again(Exception):
    """The download goes on after a pause."""

    def __init__(self, reason: str, hint: float | None = None) -> None:
        super().__init__(reason)
        self.hint = hint


class Source(Protocol):
    """Where links are opened and read; both raise TransferFailed or TimeoutError where nothing comes."""

    def fetch(self, url: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Open a link with request headers."""
        ...

    def blocks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """What comes."""
        ...


@define(eq=False)
class Download:
    """One link on its way into a sink; `got` bytes of `total` are there."""

    source: Source
    url: str = field(repr=redacted)
    max_bytes: int | None = None
    got: int = 0
    total: int | None = None
    validator: str | None = None
    progress: Progress | None = None

    async def into(self, sink: Sink) -> None:
        """Fetch everything; raises ResultExpired where the link is gone, TransferFailed where it cannot be had."""
        pauses, before = delays(), 0
        while True:
            try:
                return await self._attempt(sink)
            except _Again as again:
                if self.got - before >= _PROGRESS:
                    pauses, before = delays(), self.got
                pause = next(pauses, None)
                if pause is None:
                    came = f"{self.got} of {'unknown' if self.total is None else self.total} bytes came"
                    raise TransferFailed(f"{redacted(self.url)} could not be fetched whole, {came}: {again}") from None
                log.info("the download of %s goes on at byte %d: %s", redacted(self.url), self.got, again)
                await asyncio.sleep(obeyed(pause, again.hint))

    async def _attempt(self, sink: Sink) -> None:
        headers = {}
        if self.got and self.validator:
            headers = {"Range": f"bytes={self.got}-", "If-Range": self.validator}
        elif self.got:
            await self._start_over(sink)
        try:
            async with self.source.fetch(self.url, headers) as answer:
                await self._receive(answer, sink)
        except Refused:
            raise
        except TransferFailed as error:
            raise _Again(error.message.rpartition(": ")[2]) from None
        if self.total is not None and self.got < self.total:
            msg = "the connection was closed"
            raise _Again(msg)

    async def _receive(self, answer: aiohttp.ClientResponse, sink: Sink) -> None:
        if answer.status == 416 and (found := _TOTAL.match(answer.headers.get("Content-Range", ""))):
            self.total = int(found[1])
            if self.got == self.total:
                return
        if answer.status == 416:
            await self._start_over(sink)
            raise _Again("the range is not to be had")
        self._refuse(answer)
        if answer.status == 200:
            if self.got:
                await self._start_over(sink)
            self.total = answer.content_length
        else:
            self._resume(answer)
        self.validator = self.validator or _validator(answer)
        self._fits(self.total or 0)
        await sink.take(self._counted(answer))

    def _refuse(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status in _LATER:
            hint = answer.headers.get("Retry-After", "")
            raise _Again(f"HTTP {answer.status}", float(hint) if hint.isdecimal() else None)
        if answer.status in _GONE or answer.status == 400:
            raise ResultExpired(f"{redacted(self.url)} is not to be had any more: HTTP {answer.status}")
        if answer.status not in {200, 206}:
            raise Refused(f"{redacted(self.url)} answers HTTP {answer.status}")

    def _resume(self, answer: aiohttp.ClientResponse) -> None:
        found = _RANGE.match(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != self.got:
            raise Refused(f"{redacted(self.url)} answers with another range than was asked for")
        self.total = int(found[2]) if found[2] != "*" else self.total

    async def _counted(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        async for block in self.source.blocks(answer):
            self.got += len(block)
            if self.max_bytes is not None:
                self._fits(self.got)
            if self.progress is not None:
                self.progress(self.got, self.total)
            yield block

    def _fits(self, size: int) -> None:
        if self.max_bytes is not None and size > self.max_bytes:
            raise Refused(f"{redacted(self.url)} has more than the {self.max_bytes} bytes that were allowed")

    async def _start_over(self, sink: Sink) -> None:
        self.got, self.validator = 0, None
        await sink.empty()


def _validator(answer: aiohttp.ClientResponse) -> str | None:
    """What If-Range may carry: a strong ETag, else the time of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


class Sink(Protocol):
    """Where a download goes."""

    async def take(self, blocks: AsyncIterator[bytes]) -> None:
        """Keep what comes, behind what is there."""

    async def empty(self) -> None:
        """Begin again."""


class MemorySink:
    """A download in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def take(self, blocks: AsyncIterator[bytes]) -> None:
        """Keep what comes."""
        async for block in blocks:
            self.data += block

    async def empty(self) -> None:
        """Begin again."""
        self.data.clear()


class FileSink:
    """A download on disk."""

    def __init__(self, part: Part) -> None:
        self._file = part.file

    async def take(self, blocks: AsyncIterator[bytes]) -> None:
        """Write what comes, off the loop."""
        await write_blocks(self._file, blocks)

    async def empty(self) -> None:
        """Begin again."""
        await asyncio.to_thread(self._truncate)

    def _truncate(self) -> None:
        self._file.seek(0)
        self._file.truncate()
