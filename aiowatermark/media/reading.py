"""A file read off the event loop; what the system holds in memory anyway is taken at once, without a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, TypeVar

from .base import BLOCK, GRAIN

T = TypeVar("T")

# Linux: read what is in the page cache, and say so instead of waiting for the disk
_WITHOUT_WAITING: int = getattr(os, "RWF_NOWAIT", 0)
_LEAST = 3 << 16
"""Bytes taken at once on the loop where many files are read; of one alone a block: some 150 µs of copying."""


class Reading:
    """One reading of a file from its start. Opening it and `block` belong in a thread; `at_once` never blocks."""

    now: ClassVar[int] = 0

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        Reading.now += 1
        self._at = 0
        self._tells = bool(_WITHOUT_WAITING)
        self._ended = False
        self._buffers: list[bytearray] = []

    def at_once(self) -> memoryview | None:
        """The next bytes, none at the end; None where only a thread can tell."""
        if self._ended:
            return memoryview(b"")
        if not self._tells:
            return None
        buffer = self._buffer()
        try:
            read = os.preadv(self._file.fileno(), [buffer], self._at, _WITHOUT_WAITING)
        except BlockingIOError:
            return None
        except OSError:  # a file system that cannot; a real fault shows in the thread
            self._tells = False
            return None
        self._at += read
        return memoryview(buffer)[:read]

    def _buffer(self) -> bytearray:
        """A buffer nobody looks at any more, or a new one: filling the same few again saves making them."""
        self._buffers.reverse()  # the one that was filled last is looked at right now
        for buffer in self._buffers:
            if _free(buffer):
                return buffer
        self._buffers = [bytearray(max(BLOCK // Reading.now // GRAIN * GRAIN, _LEAST)), *self._buffers[:1]]
        return self._buffers[0]

    def block(self, size: int = BLOCK) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        self._file.seek(self._at)
        block = self._file.read(size)
        self._at += len(block)
        self._ended = len(block) < size
        return block

    def close(self) -> None:
        """Close the file."""
        if not self._file.closed:
            self._file.close()
            Reading.now -= 1


def _free(buffer: bytearray) -> bool:
    """Whether no view of it is left: Python lets no buffer change its size while there is one."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


async def kept(opening: Callable[[], T], undo: Callable[[T], object]) -> T:
    """What a worker thread opens; cancelled meanwhile, it is undone."""
    opened = asyncio.ensure_future(asyncio.to_thread(opening))
    try:
        return await asyncio.shield(opened)
    except asyncio.CancelledError:
        with suppress(Exception):
            undo(await opened)
        raise


async def opened(path: Path) -> tuple[Reading, bytes]:
    """A reading and its first bytes."""
    return await kept(lambda: begun(path), lambda found: found[0].close())


def begun(path: Path) -> tuple[Reading, bytes]:
    """A reading and its first bytes: a small file costs one hop to a thread."""
    reading = Reading(path)
    try:
        return reading, reading.block()
    except BaseException:
        reading.close()
        raise
