"""Media on disk: paths, opened anew for each reading, and files that are open already."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO, ClassVar, TypeVar

from attrs import define, field

from ..errors import InvalidInput
from .base import ALIGNMENT, BLOCK_SIZE, SNIFF_BYTES, Media, safe_name
from .stream import ensure_unread


@define(eq=False)
class File(Media):
    """A file on disk, opened anew for each reading."""

    path: Path
    size: int | None = None
    reopenable = True
    name: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Name it after the file."""
        self.name = safe_name(self.path.name)

    @property
    def identity(self) -> str:
        """The file's name and size: the same file may stand elsewhere on another machine."""
        return f"{self.path.name}:{self.size}"

    async def measure(self) -> None:
        """Stat the file in a worker thread."""
        self.size = await asyncio.to_thread(_file_size, self.path)

    async def head(self) -> bytes:
        """The first bytes, in one hop to a worker thread."""
        return await asyncio.to_thread(_file_head, self.path)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Blocks of at most 1 MiB, never waiting for the disk on the loop."""
        async with aclosing(self.buffers()) as buffers:
            async for block in buffers:
                yield bytes(block)

    async def buffers(self) -> AsyncGenerator[bytes | memoryview, None]:
        """The same without a copy; a small file costs one hop to a worker thread."""
        reading, first = await open_in_thread(self.path)
        block: bytes | memoryview = first
        try:
            while block:
                yield block
                found = reading.read_cached()
                block = await asyncio.to_thread(reading.read) if found is None else found
        finally:
            reading.close()


def _file_size(path: Path) -> int:
    try:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder: give the files in it")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not size:
        raise InvalidInput(f"{path} is an empty file")
    return size


def _file_head(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(SNIFF_BYTES)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from None


@define(eq=False)
class OpenFile(Media):
    """An open binary file, read from where it stands; reopenable if it can seek."""

    opened: BinaryIO = field(repr=False)
    size: int | None = None
    start: int = 0
    reopenable: bool = False
    name: str = field(init=False)
    consumed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Name it after the file it was opened from, if it was."""
        name = getattr(self.opened, "name", None)
        self.name = safe_name(name) if isinstance(name, str) else "media"

    @property
    def identity(self) -> str:
        """The file's name and size."""
        return f"{self.name}:{self.size}"

    async def measure(self) -> None:
        """Find where the file stands and how much follows."""
        if self.size is None and not self.consumed:
            await asyncio.to_thread(self._measure)

    def _measure(self) -> None:
        closed = getattr(self.opened, "closed", False)
        if closed or not self.opened.readable() or isinstance(self.opened, io.TextIOBase):
            raise InvalidInput("the open file is not open for reading bytes: use open(path, 'rb')")
        self.reopenable = self.opened.seekable()
        if self.reopenable:
            self.start = self.opened.tell()
            self.size = self.opened.seek(0, os.SEEK_END) - self.start
            self.opened.seek(self.start)
            if not self.size:
                raise InvalidInput(f"{self.name} is empty from where the open file stands")

    async def head(self) -> bytes:
        """The first bytes of a file that can seek; nothing of one that cannot."""
        if not self.reopenable:
            return b""
        await asyncio.to_thread(self.opened.seek, self.start)
        return await asyncio.to_thread(self.opened.read, SNIFF_BYTES)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Blocks of 1 MiB, read in a worker thread."""
        ensure_unread(self.name, spent=self.consumed and not self.reopenable)
        self.consumed = True
        if self.reopenable:
            await asyncio.to_thread(self.opened.seek, self.start)
        while block := await asyncio.to_thread(self.opened.read, BLOCK_SIZE):
            yield block


T = TypeVar("T")

# Linux: read what is in the page cache, and say so instead of waiting for the disk
_NO_WAIT: int = getattr(os, "RWF_NOWAIT", 0)
_MIN_CACHED_READ = 3 << 16
"""Bytes taken at once on the loop where many files are read; of one alone a block: some 150 µs of copying."""


class FileReader:
    """One reading of a file from its start. Opening it and `block` belong in a thread; `at_once` never blocks."""

    open_readers: ClassVar[int] = 0

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        FileReader.open_readers += 1
        self._at = 0
        self._tells = bool(_NO_WAIT)
        self._ended = False
        self._buffers: list[bytearray] = []

    def read_cached(self) -> memoryview | None:
        """The next bytes, none at the end; None where only a thread can tell."""
        if self._ended:
            return memoryview(b"")
        if not self._tells:
            return None
        buffer = self._buffer()
        try:
            read = os.preadv(self._file.fileno(), [buffer], self._at, _NO_WAIT)
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
            if _is_unreferenced(buffer):
                return buffer
        self._buffers = [
            bytearray(max(BLOCK_SIZE // FileReader.open_readers // ALIGNMENT * ALIGNMENT, _MIN_CACHED_READ)),
            *self._buffers[:1],
        ]
        return self._buffers[0]

    def read(self, size: int = BLOCK_SIZE) -> bytes:
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
            FileReader.open_readers -= 1


def _is_unreferenced(buffer: bytearray) -> bool:
    """Whether no view of it is left: Python lets no buffer change its size while there is one."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


async def cancellable_open(opening: Callable[[], T], undo: Callable[[T], object]) -> T:
    """What a worker thread opens; cancelled meanwhile, it is undone."""
    opened = asyncio.ensure_future(asyncio.to_thread(opening))
    try:
        return await asyncio.shield(opened)
    except asyncio.CancelledError:
        with suppress(Exception):
            undo(await opened)
        raise


async def open_in_thread(path: Path) -> tuple[FileReader, bytes]:
    """A reading and its first bytes."""
    return await cancellable_open(lambda: open_file(path), lambda found: found[0].close())


def open_file(path: Path) -> tuple[FileReader, bytes]:
    """A reading and its first bytes: a small file costs one hop to a thread."""
    reading = FileReader(path)
    try:
        return reading, reading.read()
    except BaseException:
        reading.close()
        raise
