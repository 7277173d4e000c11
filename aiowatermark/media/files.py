"""Media on disk: `File`, opened anew for each reading.

Theory of operation of `FileReader`. A read from disk may block, so it belongs in a worker thread. Files to upload are
often in the page cache, though, because they were just written, and for those the hop to a thread costs more than
the read. Linux can tell the difference: `preadv2` with RWF_NOWAIT copies what is cached and fails with EAGAIN where it
would have to wait for the disk. A reading therefore alternates:

    call                   runs in  returns
    open_in_thread(path)   thread   the reader and the first block; a file smaller than a block needs nothing else
    read_cached()          loop     the next bytes; no bytes at the end; None: not cached, or not supported here
    read()                 thread   the next block, after None
    close()                loop

Invariants: `_offset` is the only position, both kinds of read start there and advance it, so they mix freely. Reading
ends with an empty block. A buffer is filled again only when no view of it is left, so a consumer may hold a block as
long as it likes. A reader keeps at most two buffers; a consumer that holds more gets new ones.

Time on the loop: copying a block takes some 150 µs. The consumer says how large buffers may be; many uploads together
share one BLOCK_SIZE (transport/budget.py), so that they do not delay the loop. Memory does not grow with a file's size.

Concurrency: a reader belongs to one generator, which awaits each read before the next. Several readings of one file
have a reader each.
Cancellation: while the file is being opened, the opening is completed and undone (`cancellable_open`); afterwards the
generator's `finally` closes the reader. Failure: an OSError of `read_cached` only means that the thread must read; an
OSError of the thread reaches the consumer.

Figure: with a hop to a thread for each block an upload from the page cache costs 1.3 to 1.45 times the CPU
(benchmarks/transfer.py, up).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from ..clock import in_thread
from ..errors import InvalidInput
from .base import BLOCK_SIZE, SNIFF_BYTES, Media, safe_name, shown_path
from .digests import FILE_DIGESTS

T = TypeVar("T")

# 0 where the system has no such flag
_RWF_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)


@define(eq=False)
class File(Media):
    """A file on disk, opened anew for each reading."""

    path: Path
    size: int | None = None
    reopenable = True
    name: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Derive the name from the path."""
        self.name = safe_name(self.path.name)

    @property
    def identity(self) -> str:
        """The file's name and size; not its folder, which may differ on another machine."""
        return f"{self.name}:{self.size}"

    async def hash_content(self) -> None:
        """Set `digest`, read in a worker thread unless it is cached; raises InvalidInput for an unreadable file."""
        self.digest = await in_thread(_file_digest, self.path)

    async def measure(self) -> None:
        """Set the size; raises InvalidInput for a folder and for a missing, unreadable or empty file."""
        self.size = await in_thread(_file_size, self.path)

    async def head(self) -> bytes:
        """Return the first bytes, in one hop to a worker thread; raises InvalidInput for an unreadable file."""
        return await in_thread(_file_head, self.path)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield blocks of at most 1 MiB; the event loop never waits for the disk."""
        async with aclosing(self.buffers()) as buffers:
            async for block in buffers:
                yield bytes(block)

    async def buffers(self, buffer_bytes: int = BLOCK_SIZE) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield blocks: views of reused buffers of this size where the file is cached, else bytes of at most 1 MiB."""
        reader, first = await open_in_thread(self.path, buffer_bytes, self.digest)
        block: bytes | memoryview = first
        try:
            while block:
                yield block
                cached = reader.read_cached()
                block = await asyncio.to_thread(reader.read) if cached is None else cached
            if self.digest is not None and reader.changed():
                raise _changed(self.path)
        finally:
            reader.close()


def _file_size(path: Path) -> int:
    try:
        if path.is_dir():
            raise InvalidInput(f"{shown_path(path)} is a folder: pass the files in it")
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise _unreadable(path, error) from None
    if not size:
        raise InvalidInput(f"{shown_path(path)} is an empty file")
    return size


def _file_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SNIFF_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from None


def _file_digest(path: Path) -> str:
    try:
        return FILE_DIGESTS.digest(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _changed(path: Path) -> InvalidInput:
    return InvalidInput(f"{shown_path(path)} was changed after its job was prepared: submit it again")


def _unreadable(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(f"{shown_path(path)} cannot be read: {getattr(error, 'strerror', None) or error}")


class FileReader:
    """One reading of a file from its start; see the head of this module. Create it and call `read` in a thread."""

    def __init__(self, path: Path, buffer_bytes: int = BLOCK_SIZE) -> None:
        self._file = path.open("rb", buffering=0)
        self._buffer_bytes = buffer_bytes
        self._offset = 0
        self._can_read_cached = bool(_RWF_NOWAIT)
        self._at_end = False
        self._buffers: list[bytearray] = []
        self._state = self._stat()

    def _stat(self) -> tuple[int, int]:
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns

    def changed(self) -> bool:
        """Whether the file was written to since it was opened."""
        return self._stat() != self._state

    def check(self, path: Path, digest: str | None) -> None:
        """Raise InvalidInput if the content has another digest; it is read if that is not known. Blocks."""
        if digest is not None and FILE_DIGESTS.digest_open(path, self._file) != digest:
            raise _changed(path)

    def read_cached(self) -> memoryview | None:
        """Return the next bytes without blocking, none at the end; None if `read` must be called instead."""
        if self._at_end:
            return memoryview(b"")
        if not self._can_read_cached:
            return None
        buffer = self._free_buffer()
        try:
            size = os.preadv(self._file.fileno(), [buffer], self._offset, _RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError:  # a file system without RWF_NOWAIT; a real fault is raised by `read` again
            self._can_read_cached = False
            return None
        self._offset += size
        return memoryview(buffer)[:size]

    def _free_buffer(self) -> bytearray:
        """Return a buffer of which no view is left, or a new one: filling the same memory again is faster."""
        # the buffer filled last is the one the consumer still holds, so try the other one first
        self._buffers.reverse()
        for buffer in self._buffers:
            if _is_unreferenced(buffer):
                return buffer
        self._buffers = [bytearray(self._buffer_bytes), *self._buffers[:1]]
        return self._buffers[0]

    def read(self, size: int = BLOCK_SIZE) -> bytes:
        """Return the next bytes, at most `size`, none at the end; blocks while the disk is read."""
        self._file.seek(self._offset)
        block = self._file.read(size)
        self._offset += len(block)
        # a regular file returns less than asked for only at its end: this saves the read that would return nothing
        self._at_end = len(block) < size
        return block

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        self._file.close()


def _is_unreferenced(buffer: bytearray) -> bool:
    """Whether no view of the buffer is left: Python refuses to resize a bytearray while there is one."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


async def cancellable_open(open_: Callable[[], T], undo: Callable[[T], object]) -> T:
    """Run `open_` in a worker thread and return its value.

    A thread cannot be cancelled. If the caller is, this waits for the thread and passes the value to `undo`.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(open_))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with suppress(Exception):
            undo(await opening)
        raise


async def open_in_thread(
    path: Path, buffer_bytes: int = BLOCK_SIZE, digest: str | None = None
) -> tuple[FileReader, bytes]:
    """Return a reader and the first block, opened and read in a worker thread; see `open_file`."""
    return await cancellable_open(lambda: open_file(path, buffer_bytes, digest), lambda opened: opened[0].close())


def open_file(path: Path, buffer_bytes: int = BLOCK_SIZE, digest: str | None = None) -> tuple[FileReader, bytes]:
    """Open a file and read its first block, which is all of a small file; blocks.

    Raises InvalidInput if the content is not that of `digest`: a key names one content, also if the file is
    changed while its job waits.
    """
    reader = FileReader(path, buffer_bytes)
    try:
        reader.check(path, digest)
        return reader, reader.read()
    except BaseException:
        reader.close()
        raise
