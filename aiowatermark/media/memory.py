"""Media in memory (bytes, base64 text, `data:` URLs) and media by URL."""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import b64decode
from collections.abc import AsyncGenerator
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from attrs import define, field

from ..errors import InvalidInput, TransferFailed
from ..redaction import redact_url
from .base import BLOCK_SIZE, CHUNK, Media, safe_name
from .digests import digest_bytes
from .signatures import LinkIdentity, link_digest, unsigned_url

URL_DIGEST = "url-"
"""Begins the part of a fingerprint that represents a link."""
_SPACES = re.compile(r"\s+")
# the alphabet of URLs, which some encoders use
_TO_STANDARD_ALPHABET = str.maketrans("-_", "+/")


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
        """The name and size; the content is hashed for jobs with a key only."""
        return f"{self.name}:{self.size}"

    async def hash_content(self) -> None:
        """Set `digest`."""
        self.digest = await digest_bytes(self.data)

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

    async def measure(self) -> None:
        """Raise InvalidInput if the text is not valid base64, or has no bytes; checked in a worker thread."""
        if not self.size or not await asyncio.to_thread(_is_base64, self.text):
            raise InvalidInput(f"{self.name} is not valid base64 text")

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
class DataUrl(Base64Text):
    """The content of a `data:` URL, passed as media."""

    @property
    def identity(self) -> str:
        """The name and size; the content is hashed for jobs with a key only."""
        return f"{self.name}:{self.size}"


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


@define(eq=False)
class Link(Media):
    """Media at a URL. The provider or the client's transport downloads it; it cannot be read here."""

    url: str = field(repr=redact_url)
    size: int | None = None
    reopenable = True
    _name: str | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Raise InvalidInput for a URL without a host."""
        try:
            host = urlsplit(self.url).hostname
        except ValueError:
            host = None
        if not host:
            raise InvalidInput(f"{redact_url(self.url)} is not a valid URL: it has no host")

    @property
    def name(self) -> str:
        """The last part of the URL's path, unless another one was given."""
        return safe_name(unquote(urlsplit(self.url).path)) if self._name is None else self._name

    @name.setter
    def name(self, name: str) -> None:  # type: ignore[override, unused-ignore]
        self._name = name

    @property
    def identity(self) -> str:
        """Digests of the URL: whole, without signatures, and without its query; see `LinkIdentity`."""
        return str(LinkIdentity.of(self.url))

    async def hash_content(self) -> None:
        """Do nothing: what is behind a URL is not known here."""

    @property
    def fingerprint(self) -> str:
        """A digest of the URL without signatures, which change each time it is signed."""
        return f"{URL_DIGEST}{link_digest(unsigned_url(self.url))}/"

    def blocks(self) -> AsyncGenerator[bytes, None]:
        """Raise TransferFailed: only the transport downloads URLs."""
        raise TransferFailed(f"{redact_url(self.url)} is a URL: only the client's transport can read it")


def parse_data_url(url: str) -> DataUrl | Bytes:
    """Return the content of a `data:` URL (RFC 2397), a small file as text; base64 is decoded when it is read.

    Raises InvalidInput if the base64 text cannot be valid.
    """
    header, _, data = url.partition(",")
    if not header.lower().rstrip().endswith(";base64"):
        return Bytes(unquote_to_bytes(data))
    if "%" in data:
        data = unquote_to_bytes(data).decode("latin-1")
    text = _SPACES.sub("", data).translate(_TO_STANDARD_ALPHABET).rstrip("=")
    if not text.isascii() or len(text) % 4 == 1:
        raise InvalidInput("the data: URL has no valid base64 text after its comma")
    return DataUrl(text + "=" * (-len(text) % 4))
