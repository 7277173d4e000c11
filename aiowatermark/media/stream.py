"""Stream media: an async iterable of bytes, which can be read once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

from attrs import define, field

from ..errors import InvalidInput, TransferFailed
from .base import SNIFF_BYTES, Media


@define(eq=False)
class Stream(Media):
    """An async iterable of bytes. `size` in bytes, if it is known; otherwise it is spooled to disk before an upload."""

    source: AsyncIterable[bytes] = field(repr=False)
    size: int | None = None
    name: str = "media"
    reopenable: bool = False
    _first: bytes | None = field(default=None, init=False, repr=False)
    _rest: AsyncIterator[bytes] | None = field(default=None, init=False, repr=False)
    consumed: bool = field(default=False, init=False)

    @property
    def identity(self) -> str:
        """The name and declared size: nothing else is known before the stream is read."""
        return f"{self.name}:{self.size}"

    async def measure(self) -> None:
        """Read the first block; raises InvalidInput if there is none."""
        if not self.consumed and not await self.head():
            raise InvalidInput(f"{self.name} is an empty stream")

    async def head(self) -> bytes:
        """Return the start of the first block, which is kept for `blocks`."""
        if self._first is None and not self.consumed:
            self._rest = aiter(self.source)
            self._first = b""
            async for block in self._rest:
                if block:
                    self._first = block
                    break
        return (self._first or b"")[:SNIFF_BYTES]

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the stream's own blocks, once; raises TransferFailed at the second reading."""
        ensure_unread(self.name, consumed=self.consumed)
        await self.head()
        first, self._first, self.consumed = self._first, None, True
        if first:
            yield first
        if self._rest is not None:
            async for block in self._rest:
                yield block


def ensure_unread(name: str, *, consumed: bool) -> None:
    """Raise TransferFailed if media that can be read once was read already."""
    if consumed:
        raise TransferFailed(
            f"{name} was read already and cannot be read again: pass a path, bytes or a file that can seek"
        )
