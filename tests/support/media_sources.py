"""Sources that a client reads: streams and a file that cannot seek; and reading media completely."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

from aiowatermark.media.base import Media


async def read_media(media: Media | None) -> bytes:
    """Return all bytes of a media, which must not be None."""
    assert media is not None
    return b"".join([block async for block in media.blocks()])


async def stream_of(*blocks: bytes) -> AsyncIterator[bytes]:
    """Yield the blocks: a source that can be read only once."""
    for block in blocks:
        yield block


async def stream_in_blocks(data: bytes, size: int = 65_537) -> AsyncIterator[bytes]:
    """Yield the data in blocks of `size` bytes: a source that can be read only once."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


class Pipe(io.RawIOBase):
    """A binary file that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block, self.data = self.data[:size], self.data[size:]
        return block
