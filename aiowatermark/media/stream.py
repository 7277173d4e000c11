"""Stream media: an async iterable of bytes, which can be read once.

The first blocks, up to 64 KiB of them, are read in advance and kept: they tell the format, however small they are.
Blocks of a buffer that the source uses again (a bytearray or a memoryview) are copied, because the upload holds back
its last block. A reading that fails or is cancelled leaves the source at an unknown position, so the stream is of no
further use; it is never taken for one that has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from attrs import define, field

from ..errors import InvalidInput, TransferFailed, WatermarkError
from .base import SNIFF_BYTES, Media
from .digests import ContentHash

_READERS: WeakKeyDictionary[Any, object] = WeakKeyDictionary()
"""Who reads a source that can be read once, from its first byte to its last; an object of its own, so that no stream
keeps its source alive here."""


@define(eq=False)
class Stream(Media):
    """An async iterable of bytes. `size` in bytes, if it is known; otherwise it is spooled to disk before an upload.

    `owner` is what must not be read by two streams at once; the default is the iterator.
    """

    source: AsyncIterable[bytes] = field(repr=False)
    size: int | None = None
    name: str = "media"
    owner: Any = field(default=None, repr=False)
    reopenable: bool = False
    consumed: bool = field(default=False, init=False)
    _iterator: AsyncIterator[Any] | None = field(default=None, init=False, repr=False)
    _first: bytearray = field(factory=bytearray, init=False, repr=False)
    _ended: bool = field(default=False, init=False, repr=False)
    _broken: bool = field(default=False, init=False, repr=False)
    _hash: ContentHash | None = field(default=None, init=False, repr=False)
    _lock: asyncio.Lock = field(factory=asyncio.Lock, init=False, repr=False)
    _reader: object = field(factory=object, init=False, repr=False)

    @property
    def identity(self) -> str:
        """The name and declared size: nothing else is known before the stream is read."""
        return f"{self.name}:{self.size}"

    async def measure(self) -> None:
        """Read the first blocks; raises InvalidInput if there is none, TransferFailed if the source fails."""
        if not self.consumed and not await self.head():
            raise InvalidInput(f"{self.name} is an empty stream, or was read before")

    async def hash_content(self) -> None:
        """Let the content be hashed while it is sent: `digest` is set at the end."""
        self._hash = self._hash or ContentHash()

    async def head(self) -> bytes:
        """Return the first 64 KiB, or all of a shorter stream; they are kept for `blocks`."""
        async with self._lock:
            while not (self._ended or self.consumed) and len(self._first) < SNIFF_BYTES:
                self._first += await self._next()
        return bytes(self._first[:SNIFF_BYTES])

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the stream, once; raises TransferFailed at the second reading, and if the source fails."""
        ensure_unread(self.name, consumed=self.consumed)
        await self.head()
        ensure_unread(self.name, consumed=self.consumed)  # another reading may have begun meanwhile
        self.consumed = True
        block, self._first = bytes(self._first), bytearray()
        while block:
            if self._hash is not None:
                await self._hash.update(block)
            yield block
            block = b"" if self._ended else await self._next()
        if self._hash is not None:
            self.digest = self._hash.hexdigest

    async def _next(self) -> bytes:
        """Return the next block that is not empty, or none at the end."""
        if self._broken:
            raise TransferFailed(f"{self.name} cannot be read on: an earlier reading of it was interrupted")
        self._broken = True  # until the block has arrived
        try:
            block = await self._next_block()
        except WatermarkError:
            raise
        except Exception as error:
            raise TransferFailed(f"{self.name} could not be read to its end: {reason_of(error)}") from error
        self._broken, self._ended = False, not block
        if self._ended:
            _release(self.owner)
        return block

    async def _next_block(self) -> bytes:
        if self._iterator is None:
            self._iterator = aiter(self.source)
            self.owner = self._iterator if self.owner is None else self.owner
            _claim(self.owner, self._reader)
        async for block in self._iterator:
            if data := as_bytes(block, self.name):
                return data
        return b""


def _claim(source: Any, reader: object) -> None:
    """Raise InvalidInput if another reader has begun to read a source and has not come to its end."""
    try:
        other = _READERS.setdefault(source, reader)
    except TypeError:  # a type of its own that has no hash, or no weak references
        return
    if other is not reader:
        raise InvalidInput("the same stream or open file was passed twice, and it can be read only once: open it again")


def _release(source: Any) -> None:
    with suppress(TypeError):
        _READERS.pop(source, None)


def as_bytes(block: object, name: str) -> bytes:
    """Return a block as bytes of its own; raises TransferFailed if it is of another type."""
    if isinstance(block, bytes):
        return block
    if isinstance(block, bytearray | memoryview):
        return bytes(block)
    raise TransferFailed(f"{name} gave {type(block).__name__} where bytes were expected: open it for reading bytes")


def reason_of(error: BaseException) -> str:
    """Return in a few words why a source could not be read."""
    return getattr(error, "strerror", None) or type(error).__name__


def ensure_unread(name: str, *, consumed: bool) -> None:
    """Raise TransferFailed if media that can be read once was read already."""
    if consumed:
        raise TransferFailed(
            f"{name} was read already and cannot be read again: pass a path, bytes or a file that can seek"
        )
