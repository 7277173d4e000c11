"""What media is: bytes from somewhere, with a name, a size if it is known, and one way to read them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

ALIGNMENT = 3 << 12
"""Blocks of files are multiples of this: whole pages, and whole groups of base64."""
BLOCK_SIZE = (1 << 20) // ALIGNMENT * ALIGNMENT
"""Bytes read from a file at once: one hop to a worker thread a block."""
CHUNK = 3 << 16
"""Bytes handed on at once: small enough to keep the loop responsive, and whole groups of base64."""
SNIFF_BYTES = 1 << 16
"""Bytes that are looked at to tell what media is."""

ProgressCallback: TypeAlias = Callable[[int, int | None], object]
"""Called as `progress(done, total)` with bytes; `total` is None while it is unknown."""

_UNSAFE = re.compile(r"[^\w.() +-]+")


class Media(ABC):
    """Bytes from somewhere: `size` in bytes if it is known, `reopenable` if they can be read twice, else `spent`."""

    name: str
    size: int | None
    reopenable: bool = True
    consumed: bool = False

    @abstractmethod
    def blocks(self) -> AsyncGenerator[bytes, None]:
        """Read from the start, block by block, never blocking the event loop."""

    def buffers(self) -> AsyncGenerator[bytes | memoryview, None]:
        """As `blocks`, for readers that are content with any buffer: some media save a copy that way."""
        return self.blocks()

    async def head(self) -> bytes:
        """The first bytes (at most 64 KiB), without using the media up."""
        async for block in self.blocks():
            return block[:SNIFF_BYTES]
        return b""

    async def measure(self) -> None:  # noqa: B027 - most media know all about themselves
        """Look that it is there and how large it is; raises InvalidInput with what to do about it."""

    def rename(self, name: str) -> None:
        """Give it another name, made safe."""
        self.name = safe_name(name)

    @property
    @abstractmethod
    def identity(self) -> str:
        """What tells this media from another, without secrets: kept in stores."""


def safe_name(name: str) -> str:
    """A file name that is only a name: no folders, no control characters, at most 100 characters."""
    base = _UNSAFE.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(" .")
    stem, dot, ending = base.rpartition(".")
    return f"{stem[: 99 - len(ending)]}.{ending}" if dot and len(ending) < 16 else base[:100] or "media"
