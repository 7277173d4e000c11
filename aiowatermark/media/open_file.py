"""Media that the caller has open: any object with a method `read`, synchronous or asynchronous.

What the object can do decides how it is read:

    seek and tell     any number of times. Each block is read in one step that seeks to its offset and reads, under a
                      lock of the file's own: calls that share an open file do not disturb one another.
    read alone        once, as a `Stream`. A second call with the same object is refused before anything is sent.

Only `read` is required of an object (`requests.raw`, the body of an object in S3, a member of a zip file, an `mmap`,
an upload of FastAPI). A short block is a block; None means that there are no bytes yet.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import tempfile
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar
from weakref import WeakKeyDictionary, finalize

from attrs import define, field

from ..errors import InvalidInput, TransferFailed, WatermarkError
from .base import BLOCK_SIZE, SNIFF_BYTES, Media, blocks_to_spool, safe_name
from .digests import ContentHash
from .stream import Stream, as_bytes, reason_of

_FIRST_PAUSE, _MAX_PAUSE, _MAX_SILENCE = 0.01, 0.25, 60.0
"""Seconds until an object that gave None is read again, at first and at most, and how long it may give nothing."""

_WRAPPERS = frozenset({"anyio", "fastapi", "litestar", "starlette"})
T = TypeVar("T")


@define(eq=False)
class OpenFile(Media):
    """An open object with `read`, read from its current position; reopenable if it can seek."""

    file: Any = field(repr=False)
    size: int | None = None
    start: int = 0
    reopenable: bool = False
    name: str = field(init=False)
    _stream: Stream | None = field(default=None, init=False, repr=False)
    _shared: _SeekableFile | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Derive the name from the file's path, or from the name of an upload."""
        # a file opened by descriptor has an int as its name
        names = (getattr(self.file, "filename", None), getattr(self.file, "name", None))
        self.name = next((safe_name(name) for name in names if isinstance(name, str) and name), "media")
        self.file = _synchronous(self.file)

    @property
    def consumed(self) -> bool:  # type: ignore[override]
        """Whether it was read and cannot be read again."""
        return self._stream is not None and self._stream.consumed

    @property
    def identity(self) -> str:
        """The file's name and size."""
        return f"{self.name}:{self.size}"

    async def measure(self) -> None:
        """Set the start and the size; raises InvalidInput for a closed, unreadable, text or empty file."""
        if self._stream is None:
            _check_readable(self.file)
            if self._shared is None:
                await self._open()
        if self._stream is not None:
            await self._stream.measure()
        elif self.size is not None and self.size <= 0:
            raise InvalidInput(f"{self.name} has no bytes after the current position of the open file")

    async def _open(self) -> None:
        try:
            if await asyncio.to_thread(_can_seek, self.file):
                shared = _seekable_file(self.file)
                self.start, end = await shared.measure(self.file)
                self.size, self.reopenable, self._shared = end - self.start, True, shared
                return
        except WatermarkError:
            raise
        except Exception as error:
            raise InvalidInput(f"{self.name} cannot be read: {reason_of(error)}") from error
        blocks = _read_blocks(self.file, self.name)
        self._stream = Stream(blocks, size=self.size, name=self.name, owner=self.file)

    async def head(self) -> bytes:
        """Return the first bytes; those of an object that cannot seek are kept for `blocks`."""
        await self._ensure_measured()
        if self._stream is not None:
            return await self._stream.head()
        head = b""
        while len(head) < SNIFF_BYTES and (block := await self._read_at(len(head), SNIFF_BYTES - len(head))):
            head += block
        return head

    async def hash_content(self) -> None:
        """Set `digest`, or have it set once an object that cannot seek was sent."""
        await self._ensure_measured()
        if self._stream is not None:
            return await self._stream.hash_content()
        self.digest = None  # of an earlier content, perhaps
        return await super().hash_content()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield blocks of at most 1 MiB; raises TransferFailed if they cannot be read, or not again.

        Raises InvalidInput at the end, before an upload is complete, if the content has not the digest of its key.
        """
        await self._ensure_measured()
        if self._stream is not None:
            async for block in self._stream.blocks():
                yield block
            self.digest = self._stream.digest
            return
        offset, digest, content = 0, self.digest, ContentHash()
        while block := await self._read_at(offset, BLOCK_SIZE):
            offset += len(block)
            if digest is not None:
                await content.update(block)
            yield block
        if digest is not None and content.hexdigest != digest:
            raise InvalidInput(f"{self.name} was changed after its job was prepared: submit it again")

    async def _ensure_measured(self) -> None:
        if self._stream is None and self._shared is None:
            await self.measure()

    async def _read_at(self, offset: int, size: int) -> bytes:
        """Return bytes at an offset from the start, none at the end; raises TransferFailed if that fails."""
        shared = self._shared or _SeekableFile()
        try:
            return await _wait_for_bytes(lambda: shared.read(self.file, self.start + offset, size), self.name)
        except WatermarkError:
            raise
        except Exception as error:
            raise TransferFailed(f"{self.name} could not be read to its end: {reason_of(error)}") from error


class _SeekableFile:
    """A file that may be read by several calls at once, each at its own offset.

    `home` is the position at which the caller passed the file, `left` the one at which the last call here left it. If
    the file is still there, its position is unchanged, and the next call begins at `home`, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._home = 0
        self._left = -1

    async def measure(self, file: Any) -> tuple[int, int]:
        """Return the position at which the caller has the file, and that of its end."""
        return await self._locked(file, lambda: self._measure(file))

    async def read(self, file: Any, offset: int, size: int) -> Any:
        """Return what `read` gives at an offset."""
        return await self._locked(file, lambda: _read_from(file, offset, size))

    def _measure(self, file: Any) -> tuple[int, int]:
        if (now := file.tell()) != self._left:
            self._home = now
        file.seek(0, os.SEEK_END)
        return self._home, int(file.tell())  # not what `seek` returns: that of an mmap returns nothing

    async def _locked(self, file: Any, function: Callable[[], T]) -> T:
        def call() -> T:
            with self._lock:
                try:
                    return function()
                finally:
                    self._left = file.tell()

        return await asyncio.to_thread(call)


def _read_from(file: Any, offset: int, size: int) -> Any:
    if file.tell() != offset:
        file.seek(offset)
    return file.read(size)


_SEEKABLE: WeakKeyDictionary[Any, _SeekableFile] = WeakKeyDictionary()


def _seekable_file(file: Any) -> _SeekableFile:
    """Return what all calls with this file share; for a type without a hash or weak references, one of its own."""
    try:
        return _SEEKABLE.setdefault(file, _SeekableFile())
    except TypeError:
        return _SeekableFile()


def _synchronous(file: Any) -> Any:
    """Return the synchronous file that an upload of a web framework (`file`) or a file of anyio (`wrapped`) wraps.

    Only where `read` is that of these packages: any other may give other bytes than the file it wraps.
    """
    module = getattr(getattr(type(file), "read", None), "__module__", None) or ""
    if module.partition(".")[0] in _WRAPPERS and inspect.iscoroutinefunction(file.read):
        for inner in (getattr(file, "file", None), getattr(file, "wrapped", None)):
            methods = [getattr(inner, name, None) for name in ("read", "seek", "tell")]
            if all(callable(method) and not inspect.iscoroutinefunction(method) for method in methods):
                return inner
    return file


def _check_readable(file: Any) -> None:
    """Raise InvalidInput for a file that is closed, or open for text or for writing only."""
    readable = getattr(file, "readable", None)
    closed = getattr(file, "closed", False) is True
    if closed or isinstance(file, io.TextIOBase) or (callable(readable) and not readable()):
        raise InvalidInput("the open file is not open for reading bytes: use open(path, 'rb')")


def _can_seek(file: Any) -> bool:
    seek, seekable = getattr(file, "seek", None), getattr(file, "seekable", None)
    if not callable(seek) or not callable(getattr(file, "tell", None)) or inspect.iscoroutinefunction(seek):
        return False
    if callable(seekable):
        return seekable() is True
    with suppress(Exception):  # an object of any type: what it raises means that it cannot
        seek(file.tell())
        return True
    return False


async def _read_blocks(file: Any, name: str) -> AsyncGenerator[bytes, None]:
    """Yield what `read` gives until it gives no bytes; a `read` that takes no size is called once and gives all."""
    arguments = (BLOCK_SIZE,) if _accepts_size(file.read) else ()
    while block := await _wait_for_bytes(lambda: _call(file.read, *arguments), name):
        yield block
        if not arguments:
            return


async def _call(read: Callable[..., Any], *arguments: int) -> Any:
    if inspect.iscoroutinefunction(read):
        return await read(*arguments)
    result = await asyncio.to_thread(read, *arguments)
    return await result if inspect.isawaitable(result) else result


def _accepts_size(read: Callable[..., Any]) -> bool:
    try:
        inspect.signature(read).bind(BLOCK_SIZE)
    except TypeError:
        return False
    except ValueError:  # a built-in function without a signature
        return True
    return True


async def _wait_for_bytes(read: Callable[[], Awaitable[Any]], name: str) -> bytes:
    """Return the next bytes, none at the end; None of a non-blocking object means that there are none yet.

    Raises TransferFailed if it gives none for a minute.
    """
    pause, silence = _FIRST_PAUSE, 0.0
    while (block := await read()) is None:
        if silence >= _MAX_SILENCE:
            raise TransferFailed(f"{name} gave no bytes for {silence:.0f} s")
        await asyncio.sleep(pause)
        silence += pause
        pause = min(pause * 2, _MAX_PAUSE)
    return as_bytes(block, name)


async def spool_stream(media: Media) -> OpenFile:
    """Copy media to a temporary file without a name and return that; it is gone when the last reference is.

    Raises TransferFailed if the media cannot be read.
    """
    file: BinaryIO = await asyncio.to_thread(tempfile.TemporaryFile, "w+b", prefix="aiowatermark-")
    try:
        async for block in blocks_to_spool(media):
            await asyncio.to_thread(file.write, block)
        await asyncio.to_thread(file.seek, 0)
    except OSError as error:
        file.close()
        raise TransferFailed(f"{media.name} cannot be copied to a temporary file: {reason_of(error)}") from None
    except BaseException:
        file.close()
        raise
    spooled = OpenFile(file)
    spooled.name, spooled.content_type = media.name, media.content_type
    finalize(spooled, file.close)
    await spooled.measure()
    return spooled
