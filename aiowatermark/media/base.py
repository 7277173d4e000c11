"""Media base class: bytes with a name, a size if it is known, and one way to read them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeAlias

from ..errors import InvalidInput
from .digests import ContentHash

ALIGNMENT = 3 << 12
"""Blocks of files are multiples of this: three memory pages, and whole groups of three bytes for base64."""
BLOCK_SIZE = (1 << 20) // ALIGNMENT * ALIGNMENT
"""Bytes read from a file at a time, just under 1 MiB: a larger block costs fewer hops to a worker thread."""
CHUNK = 3 << 16
"""Bytes processed at a time on the event loop, 192 KiB: few enough not to delay it; whole groups for base64."""
SNIFF_BYTES = 1 << 16
"""Bytes from the start of media, 64 KiB, that are enough to detect its format and size in pixels."""

SPOOL_LIMIT = 4 << 30
"""Bytes of media of unknown size, 4 GiB, that are copied to a temporary file: an endless stream must fill no disk."""

ProgressCallback: TypeAlias = Callable[[int, int | None], object]
"""Called as `progress(done, total)` with bytes; `total` is None while it is unknown."""

_UNSAFE = re.compile(r"[^\w.() +-]+")
_MAX_SHOWN_CHARACTERS = 200


class Media(ABC):
    """Bytes to send or receive.

    `name` is a safe file name, `size` the number of bytes, None while unknown. `reopenable` media can be read any
    number of times; other media is `consumed` by its first reading. `content_type` is that of its format once the
    client has looked at its first bytes, like the `pixels`, width and height, of an image. `digest` is that of its
    content once it was asked for and is known.
    """

    name: str
    size: int | None
    reopenable: bool = True
    consumed: bool = False
    content_type: str | None = None
    pixels: tuple[int, int] | None = None
    digest: str | None = None

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

    async def hash_content(self) -> None:
        """Set `digest` anew. Media that can be read only once is not read: it may set its digest once it was sent."""
        if self.reopenable:
            content = ContentHash()
            async for block in self.blocks():
                await content.update(block)
            self.digest = content.hexdigest

    def rename(self, name: str) -> None:
        """Replace the name; unsafe characters are replaced."""
        self.name = safe_name(name)

    @property
    @abstractmethod
    def identity(self) -> str:
        """A text by which an answer's media is recognised. It is persisted, so it has no secret and no content."""

    @property
    def fingerprint(self) -> str:
        """What is known of the content, for the fingerprint of a job: the digest and the size, empty if unknown."""
        return f"{self.digest or ''}/{'' if self.size is None else self.size}"


def safe_name(name: str) -> str:
    """Return a file name without folders, control characters and a leading dot, of at most 100 characters."""
    base = _UNSAFE.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(" .")
    stem, dot, suffix = base.rpartition(".")
    return f"{stem[: 99 - len(suffix)]}.{suffix}" if dot and len(suffix) < 16 else base[:100] or "media"


def shown_path(path: object) -> str:
    """Return a path as error messages show it: printable in every encoding of Unicode, and at most 200 characters.

    Bytes of a name that is not UTF-8, control characters and the like are escaped.
    """
    text = str(path)
    if len(text) > _MAX_SHOWN_CHARACTERS:
        text = f"{text[:50]}…{text[49 - _MAX_SHOWN_CHARACTERS :]}"
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    # surrogates stand for bytes that are not valid UTF-8: U+DCE9 for the byte E9
    return f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else repr(char)[1:-1]


async def blocks_to_spool(media: Media) -> AsyncGenerator[bytes, None]:
    """Read media of unknown size; raises InvalidInput for more than `SPOOL_LIMIT` bytes."""
    length = 0
    async with aclosing(media.blocks()) as blocks:
        async for block in blocks:
            length += len(block)
            if length > SPOOL_LIMIT:
                raise InvalidInput(
                    f"{media.name} has more than {SPOOL_LIMIT >> 30} GiB and does not tell its size: pass size="
                )
            yield block
