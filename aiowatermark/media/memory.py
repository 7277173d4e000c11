"""Media in memory, and links."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import AsyncGenerator
from urllib.parse import unquote, urlsplit

from attrs import define, field

from ..errors import InvalidInput, TransferFailed
from ..redaction import redact_url
from .base import CHUNK, Media, safe_name


@define(eq=False)
class Bytes(Media):
    """Bytes already in memory."""

    data: bytes = field(repr=lambda data: f"<{len(data)} bytes>")
    name: str = "picture.jpg"
    reopenable = True

    @property
    def size(self) -> int:  # type: ignore[override]
        """Length in bytes."""
        return len(self.data)

    @property
    def identity(self) -> str:
        """A digest of the content."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The bytes, in slices."""
        for start in range(0, len(self.data), CHUNK):
            yield self.data[start : start + CHUNK]

    async def buffers(self) -> AsyncGenerator[bytes | memoryview, None]:
        """All of them at once: they are in memory already."""
        yield self.data

    async def measure(self) -> None:
        """Refuse nothing at all."""
        if not self.data:
            raise InvalidInput("the media is empty: 0 bytes were given")


@define(eq=False)
class Base64Text(Media):
    """Base64 text as an API gave it, decoded block by block when it is read."""

    text: str = field(repr=lambda text: f"<base64, {len(text)} characters>")
    name: str = "picture.jpg"
    reopenable = True

    @property
    def size(self) -> int:  # type: ignore[override]
        """Length in bytes once decoded."""
        return len(self.text) * 3 // 4 - self.text[-2:].count("=")

    @property
    def identity(self) -> str:
        """A digest of the text."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The decoded bytes; raises TransferFailed where the text is not base64."""
        for start in range(0, len(self.text), CHUNK * 4 // 3):
            try:
                yield b64decode(self.text[start : start + CHUNK * 4 // 3], validate=True)
            except ValueError:
                raise TransferFailed("the provider's picture is not valid base64") from None
            await asyncio.sleep(0)


@define(eq=False)
class Link(Media):
    """A picture or video somewhere on the web; opened by the transport, not here."""

    url: str = field(repr=redact_url)
    size: int | None = None
    reopenable = True
    name: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Name it after its path; raises InvalidInput for a link that leads nowhere."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            parts = urlsplit("")
        if not parts.hostname:
            raise InvalidInput(f"{redact_url(self.url)} is no link: it names no host")
        self.name = safe_name(unquote(parts.path))

    @property
    def identity(self) -> str:
        """A digest of the link without its query, which signed links change."""
        return hashlib.blake2b(self.url.partition("?")[0].encode(), digest_size=16).hexdigest()

    def blocks(self) -> AsyncGenerator[bytes, None]:
        """Raise TransferFailed: only a transport opens links."""
        raise TransferFailed(f"{redact_url(self.url)} is a link: a client's transport opens it")
