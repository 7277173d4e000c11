"""Media base class: bytes with a name, a size if it is known, and one way to read them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

ALIGNMENT = 3 << 12
"""Blocks of files are multiples of this: three memory pages, and whole groups of three bytes for base64."""
BLOCK_SIZE = (1 << 20) // ALIGNMENT * ALIGNMENT
"""Bytes read from a file at a time, just under 1 MiB: a larger block costs fewer hops to a worker thread."""
CHUNK = 3 << 16
"""Bytes processed at a time on the event loop, 192 KiB: few enough not to delay it; whole groups for base64."""
SNIFF_BYTES = 1 << 16
"""Bytes from the start of media, 64 KiB, that are enough to detect its format and size in pixels."""

ProgressCallback: TypeAlias = Callable[[int, int | None], object]
"""Called as `progress(done, total)` with bytes; `total` is None while it is unknown."""

_UNSAFE = re.compile(r"[^\w.() +-]+")


class Media(ABC):
    """Bytes to send or receive.

    `name` is a safe file name, `size` the number of bytes, None while unknown. `reopenable` media can be read any
    number of times; other media is `consumed` by its first reading.
    """

    name: str
    size: int | None
    reopenable: bool = True
    consumed: bool = False

    @abstractmethod
    def blocks(self) -> AsyncGenerator[bytes, None]:
        """Read from the start, block by block, without blocking the event loop."""

    def buffers(self, buffer_bytes: int = BLOCK_SIZE) -> AsyncGenerator[bytes | memoryview, None]:  # noqa: ARG002
        """Read as `blocks` does; a block may be a view, which saves some media a copy."""
        return self.blocks()

    async def head(self) -> bytes:
        """Return the first bytes, at most 64 KiB, without consuming the media."""
        async for block in self.blocks():
            return block[:SNIFF_BYTES]
        return b""

    async def measure(self) -> None:  # noqa: B027 - media in memory has nothing to check
        """Check that the media is readable and not empty, and set `size`; raises InvalidInput if it is not."""

    def rename(self, name: str) -> None:
        """Replace the name; unsafe characters are replaced."""
        self.name = safe_name(name)

    @property
    @abstractmethod
    def identity(self) -> str:
        """A text that tells this media from other media. It is persisted, so it contains no secret and no content."""


def safe_name(name: str) -> str:
    """Return a file name without folders, control characters and a leading dot, of at most 100 characters."""
    base = _UNSAFE.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(" .")
    stem, dot, suffix = base.rpartition(".")
    return f"{stem[: 99 - len(suffix)]}.{suffix}" if dot and len(suffix) < 16 else base[:100] or "media"
