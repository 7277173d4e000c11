"""A planned body on its way: slices whose size follows the pace of the line, counted as they leave."""

from __future__ import annotations

import asyncio
from binascii import b2a_base64
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from typing import ClassVar, TypeAlias

from ..errors import TransferFailed, WatermarkError
from ..media.base import ProgressCallback
from ..wire import Base64
from .body import BodyPart, EncodedBody

Chunk: TypeAlias = bytes | memoryview


class ChunkSizer:
    """How many bytes leave at once: more while they leave at once, fewer where the line is narrow.

    Whole groups of base64; so few at the least that a slow line is not taken for one that stands still. `most` is for
    all bodies that are under way together: the loop has other work between their slices.
    """

    least, usual, most = 3 << 14, 3 << 15, 3 << 20
    quick, slow = 0.05, 1.0
    active: ClassVar[int] = 0

    def __init__(self) -> None:
        self.size = self.usual

    def adjust(self, seconds: float) -> None:
        """Learn from how long the last slice took to leave."""
        if seconds < self.quick:
            self.size = min(self.size * 2, max(self.most // ChunkSizer.active // 3 * 3, self.usual))
        elif seconds > self.slow:
            self.size = max(self.size // 6 * 3, self.least)


class BodyStream:
    """One attempt's body on its way: counts what leaves and remembers why it broke.

    `moved` is called when the line took something, at most every `rest` seconds, and when the body has left whole.
    """

    def __init__(self, body: EncodedBody, progress: ProgressCallback | None, rest: float = 0.0) -> None:
        self.body = body
        self.length = body.length
        self.sent = 0
        self.error: WatermarkError | None = None
        self.on_progress: Callable[[], object] = lambda: None
        self.blocks = self._count_chunks()
        self._progress = progress
        self._sizer = ChunkSizer()
        self._rest = rest
        self._told = 0.0
        self._clock = asyncio.get_running_loop().time

    @property
    def complete(self) -> bool:
        """Whether everything has been handed to the line."""
        return self.sent == self.length

    async def close(self) -> None:
        """Close what was being read, where the body did not leave whole."""
        await asyncio.sleep(0)  # aiohttp has called its writing task off, which may be inside a read
        with suppress(RuntimeError):
            await self.blocks.aclose()

    async def _count_chunks(self) -> AsyncGenerator[Chunk, None]:
        """The body, giving the loop its turn between slices.

        The last slice leaves only when it is known to be the last: a body of a wrong length is never whole, so the
        other side cannot have taken it.
        """
        last: Chunk = b""
        read = 0
        ChunkSizer.active += 1
        try:
            async with aclosing(_chunks(self.body.parts, self._sizer)) as slices:
                async for block in slices:
                    if not block:
                        continue
                    read += len(block)
                    if read < self.length:
                        begun = self._clock()
                        self.sent = read
                        yield block
                        self._report_sent(begun)
                        await asyncio.sleep(0)
                    else:
                        self._check(whole=read == self.length)
                        last = block
            self._check(whole=read == self.length)
            self.sent = read
            yield last
            self._report_sent(0.0)
        except WatermarkError as error:
            self.error = error
            raise
        except Exception as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            self.error = TransferFailed(f"the media could not be read to its end: {reason}")
            raise
        finally:
            ChunkSizer.active -= 1

    def _report_sent(self, begun: float) -> None:
        now = self._clock()
        self._sizer.adjust(now - begun)
        if now >= self._told or self.complete:
            self._told = now + self._rest
            self.on_progress()
        if self._progress is not None:
            self._progress(self.sent, self.length)

    def _check(self, *, whole: bool) -> None:
        if not whole:
            raise TransferFailed(f"the media changed its size while it was sent: {self.length} bytes were declared")


async def _chunks(parts: Iterable[BodyPart], pace: ChunkSizer) -> AsyncGenerator[Chunk, None]:
    """All parts in slices; a reading is closed when nobody goes on with it."""
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        media, cut = (part.media, Base64Chunks(pace)) if isinstance(part, Base64) else (part, RawChunks(pace))
        async with aclosing(media.buffers()) as blocks:
            async for block in blocks:
                for piece in cut.split(block):
                    yield piece
        for piece in cut.flush():
            yield piece


class RawChunks:
    """Blocks cut into slices, without a copy."""

    def __init__(self, pace: ChunkSizer) -> None:
        self._pace = pace

    def split(self, block: bytes | memoryview) -> Iterable[Chunk]:
        """The slices of one block."""
        return (block,) if len(block) <= self._pace.size else self._cut(memoryview(block))

    def _cut(self, view: memoryview) -> Iterator[Chunk]:
        start = 0
        while start < len(view):
            piece = view[start : start + self._pace.size]
            start += len(piece)
            yield piece

    def flush(self) -> Iterable[bytes]:
        """Nothing is held back."""
        return ()


class Base64Chunks(RawChunks):
    """Blocks as base64 text, in slices; what does not fill a group of three waits for the next block."""

    def __init__(self, pace: ChunkSizer) -> None:
        super().__init__(pace)
        self._held = b""

    def split(self, block: bytes | memoryview) -> Iterator[Chunk]:
        """The encoded slices of one block."""
        data = self._held + block if self._held else block
        whole = len(data) - len(data) % 3
        self._held = bytes(data[whole:])
        for piece in super().split(data[:whole] if self._held else data):
            yield b2a_base64(piece, newline=False)

    def flush(self) -> Iterable[bytes]:
        """The last group, padded."""
        return (b2a_base64(self._held, newline=False),) if self._held else ()
