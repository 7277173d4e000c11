"""Uploads: streams an encoded body in chunks that fit the connection, and counts what was handed over.

A BodyStream belongs to one attempt at one request. aiohttp's writer iterates over `chunks`; HttpTransport reads the
counters to decide what a failure means for the submission:

    sent == 0              no byte of the body was handed to aiohttp; the headers leave with the first chunk
    0 < sent < length      something may have left, but not everything; `error` is set if the media is the reason
    sent == length         complete: the provider may have accepted the request

Invariants: `sent` is raised before a chunk is yielded, so it is never lower than what has left. The last chunk is
yielded only after the media has ended and its length was found to be right: aiohttp would silently cut a body that is
longer than its Content-Length, and hang on one that is shorter, so a body of a wrong length never becomes complete.
Every chunk but the last of a base64 part encodes a multiple of three bytes, so that the chunks join to one valid text
without padding inside.

Chunk sizes adapt (ChunkSizer): large chunks cost less CPU, small ones keep the event loop responsive and keep a slow
connection visibly moving for the stall watchdog. Concurrent uploads share the largest size (budget.py), because the
loop has other work between their chunks.

If the attempt fails or is cancelled, aiohttp cancels its writer, which may be inside a read of the media. `close`
lets that end and then closes the reader, so that no file stays open.

After each chunk the generator yields to the loop, because aiohttp does not suspend while the socket accepts
everything. On loopback with chunks of 256 KiB that costs 0.37 instead of 0.34 CPU seconds per GiB, and reduces the
99th percentile of loop lag from 354 ms to 1.4 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from importlib import import_module
from typing import TypeAlias

from ..errors import TransferFailed, WatermarkError
from ..media.base import ProgressCallback
from ..wire import Base64
from .body import BodyPart, EncodedBody
from .budget import MIN_CHUNK_BYTES, TransferBudget

try:  # extra [fast]: 7 % less CPU for a job with 200 kB as base64, 20 % with 2 MB
    _base64 = import_module("pybase64")
except ImportError:
    _base64 = import_module("base64")
b64encode: Callable[[bytes | memoryview], bytes] = _base64.b64encode

Chunk: TypeAlias = bytes | memoryview


class ChunkSizer:
    """Chooses the chunk size of one upload: doubled on a fast connection, halved on a slow one.

    It saves 10 to 60 % of the CPU of chunks of a fixed size of 192 KiB (benchmarks/transfer.py, up).

    All sizes are in bytes and multiples of three, which base64 needs.
    """

    min_size, initial_size = 3 << 14, MIN_CHUNK_BYTES
    fast_seconds, slow_seconds = 0.05, 1.0

    def __init__(self, budget: TransferBudget) -> None:
        self.size = self.initial_size
        self._budget = budget

    def adjust(self, seconds: float) -> None:
        """Adapt the size to the seconds that the connection took to accept the last chunk."""
        if seconds < self.fast_seconds:
            self.size = min(self.size * 2, self._budget.chunk_bytes())
        elif seconds > self.slow_seconds:
            self.size = max(self.size // 6 * 3, self.min_size)


class BodyStream:
    """The body of one attempt: iterate over `chunks` once; `sent`, `complete` and `error` say how far it got.

    `on_progress` is called when the connection has accepted a chunk, at most every `progress_interval` seconds, and
    when the body is complete. `progress` is the user's callback and is called after every chunk. `on_sent` is called
    before the first chunk is handed over: the headers leave with it.
    """

    def __init__(
        self,
        body: EncodedBody,
        progress: ProgressCallback | None = None,
        on_sent: Callable[[], object] | None = None,
        *,
        budget: TransferBudget | None = None,
        progress_interval: float = 0.0,
    ) -> None:
        self.body = body
        self.length = body.length
        self.sent = 0
        self.error: WatermarkError | None = None
        self.on_progress: Callable[[], object] = lambda: None
        self.chunks = self._count_chunks()
        self._progress = progress
        self._on_sent = on_sent
        self._budget = budget or TransferBudget()
        self._sizer = ChunkSizer(self._budget)
        self._progress_interval = progress_interval
        self._next_report = 0.0
        self._clock = asyncio.get_running_loop().time

    @property
    def complete(self) -> bool:
        """Whether the whole body was handed to aiohttp."""
        return self.sent == self.length

    async def close(self) -> None:
        """Close the media, in case the body was not sent completely."""
        await asyncio.sleep(0)  # aiohttp has just cancelled its writer: let it leave a read of the media
        with suppress(RuntimeError):  # "asynchronous generator is already running": the read is still ending
            await self.chunks.aclose()

    async def _count_chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks of the body; keeps `sent` and, if the media fails, `error`."""
        read = 0
        last: Chunk = b""
        try:
            async with aclosing(_split(self.body.parts, self._sizer, self._budget)) as chunks:
                async for chunk in chunks:
                    if not chunk:
                        continue
                    read += len(chunk)
                    if read >= self.length:
                        self._check_length(read)
                        last = chunk  # held back until the media has ended
                        continue
                    started = self._clock()
                    self._mark_sent(read)
                    yield chunk
                    now = self._clock()
                    self._sizer.adjust(now - started)
                    self._report_progress(now)
                    await asyncio.sleep(0)
            self._check_length(read)
            self._mark_sent(read)
            yield last
            self._report_progress(self._clock())
        except Exception as error:
            self.error = _media_error(error)
            raise

    def _mark_sent(self, count: int) -> None:
        if self.sent == 0 and self._on_sent is not None:
            self._on_sent()
        self.sent = count

    def _check_length(self, read: int) -> None:
        if read != self.length:
            raise TransferFailed(f"the media changed its size while it was sent: {self.length} bytes were declared")

    def _report_progress(self, now: float) -> None:
        if now >= self._next_report or self.complete:
            self._next_report = now + self._progress_interval
            self.on_progress()
        if self._progress is not None:
            self._progress(self.sent, self.length)


def _media_error(error: Exception) -> WatermarkError:
    if isinstance(error, WatermarkError):
        return error
    reason = getattr(error, "strerror", None) or type(error).__name__
    return TransferFailed(f"the media could not be read to its end: {reason}")


async def _split(parts: Iterable[BodyPart], sizer: ChunkSizer, budget: TransferBudget) -> AsyncGenerator[Chunk, None]:
    """Yield all parts in chunks; a media is closed as soon as the consumer stops."""
    with budget.upload():
        for part in parts:
            if isinstance(part, bytes):
                yield part
                continue
            media, splitter = (
                (part.media, Base64Chunks(sizer)) if isinstance(part, Base64) else (part, RawChunks(sizer))
            )
            async with aclosing(media.buffers(budget.buffer_bytes())) as blocks:
                async for block in blocks:
                    for chunk in splitter.split(block):
                        yield chunk
            for chunk in splitter.flush():
                yield chunk


class RawChunks:
    """Splits blocks into chunks without copying them."""

    def __init__(self, sizer: ChunkSizer) -> None:
        self._sizer = sizer

    def split(self, block: bytes | memoryview) -> Iterable[Chunk]:
        """Return the chunks of one block; the size is asked for again before each."""
        return (block,) if len(block) <= self._sizer.size else self._slices(memoryview(block))

    def _slices(self, view: memoryview) -> Iterator[Chunk]:
        start = 0
        while start < len(view):
            chunk = view[start : start + self._sizer.size]
            start += len(chunk)
            yield chunk

    def flush(self) -> Iterable[bytes]:
        """Return what was held back: nothing here."""
        return ()


class Base64Chunks(RawChunks):
    """Splits blocks into chunks of base64 text; bytes that do not fill a group of three wait for the next block."""

    def __init__(self, sizer: ChunkSizer) -> None:
        super().__init__(sizer)
        self._remainder = b""

    def split(self, block: bytes | memoryview) -> Iterator[Chunk]:
        """Yield the encoded chunks of one block."""
        data = self._remainder + block if self._remainder else block
        end = len(data) - len(data) % 3
        self._remainder = bytes(data[end:])
        for chunk in super().split(data[:end] if self._remainder else data):
            yield b64encode(chunk)

    def flush(self) -> Iterable[bytes]:
        """Return the last group, padded, if there is one."""
        return (b64encode(self._remainder),) if self._remainder else ()
