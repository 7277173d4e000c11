"""Media in memory (bytes, base64 text) and media by URL."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import AsyncGenerator
from urllib.parse import unquote, urlsplit

from attrs import define, field

from ..errors import InvalidInput, TransferFailed
from ..redaction import redact_url
from .base import BLOCK_SIZE, CHUNK, Media, safe_name


@define(eq=False)
class Bytes(Media):
    """Bytes in memory."""

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
        """Yield the bytes in chunks."""
        for start in range(0, len(self.data), CHUNK):
            yield self.data[start : start + CHUNK]

    async def buffers(self, buffer_bytes: int = BLOCK_SIZE) -> AsyncGenerator[bytes | memoryview, None]:  # noqa: ARG002
        """Yield all bytes as one block, which needs no copy."""
        yield self.data

    async def measure(self) -> None:
        """Raise InvalidInput if there are no bytes."""
        if not self.data:
            raise InvalidInput("the media is empty: 0 bytes were passed")


@define(eq=False)
class Base64Text(Media):
    """Base64 text as an API returned it; it is decoded block by block when it is read."""

    text: str = field(repr=lambda text: f"<base64, {len(text)} characters>")
    name: str = "picture.jpg"
    reopenable = True

    @property
    def size(self) -> int:  # type: ignore[override]
        """Length of the decoded bytes."""
        return len(self.text) * 3 // 4 - self.text[-2:].count("=")

    @property
    def identity(self) -> str:
        """A digest of the text."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the decoded bytes; raises TransferFailed if the text is not valid base64."""
        for start in range(0, len(self.text), CHUNK * 4 // 3):
            try:
                yield b64decode(self.text[start : start + CHUNK * 4 // 3], validate=True)
            except ValueError:
                raise TransferFailed("the provider's image is not valid base64") from None
            # decoding is CPU work: let other tasks run between blocks
            await asyncio.sleep(0)


@define(eq=False)
class Link(Media):
    """Media at a URL. The provider or the client's transport downloads it; it cannot be read here."""

    url: str = field(repr=redact_url)
    size: int | None = None
    reopenable = True
    name: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Derive the name from the URL's path; raises InvalidInput for a URL without a host."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            parts = urlsplit("")
        if not parts.hostname:
            raise InvalidInput(f"{redact_url(self.url)} is not a valid URL: it has no host")
        self.name = safe_name(unquote(parts.path))

    @property
    def identity(self) -> str:
        """A digest of the URL without its query: the query of a signed URL changes each time it is signed."""
        return hashlib.blake2b(self.url.partition("?")[0].encode(), digest_size=16).hexdigest()

    def blocks(self) -> AsyncGenerator[bytes, None]:
        """Raise TransferFailed: only the transport downloads URLs."""
        raise TransferFailed(f"{redact_url(self.url)} is a URL: only the client's transport can read it")
