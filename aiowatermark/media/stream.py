"""Media that can be read once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

from attrs import define, field

from ..errors import InvalidInput, TransferFailed
from .base import SNIFF_BYTES, Media


@define(eq=False)
class Stream(Media):
    """An async iterable of bytes; it can be read once."""

    source: AsyncIterable[bytes] = field(repr=False)
    size: int | None = None
    name: str = "media"
    reopenable: bool = False
    _first: bytes | None = field(default=None, init=False, repr=False)
    _rest: AsyncIterator[bytes] | None = field(default=None, init=False, repr=False)
    consumed: bool = field(default=False, init=False)

    @property
    def identity(self) -> str:
        """The stream's name and declared size: all that can be known beforehand."""
        return f"{self.name}:{self.size}"

    async def measure(self) -> None:
        """Look at the first block; raises InvalidInput where there is none."""
        if not self.consumed and not await self.head():
            raise InvalidInput(f"{self.name} is an empty stream")

    async def head(self) -> bytes:
        """The first block, kept for the reading that follows."""
        if self._first is None and not self.consumed:
            self._rest = aiter(self.source)
            self._first = b""
            async for block in self._rest:
                if block:
                    self._first = block
                    break
        return (self._first or b"")[:SNIFF_BYTES]

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The stream's own blocks, once."""
        ensure_unread(self.name, spent=self.consumed)
        await self.head()
        first, self._first, self.consumed = self._first, None, True
        if first:
            yield first
        if self._rest is not None:
            async for block in self._rest:
                yield block


def ensure_unread(name: str, *, spent: bool) -> None:
    """Refuse a second reading of what can be read once."""
    if spent:
        raise TransferFailed(
            f"{name} was read already and cannot be read again: give a path, bytes or a file that can seek"
        )
