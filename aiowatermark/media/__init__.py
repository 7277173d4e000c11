"""Media: bytes to send or receive, from paths, bytes, URLs, open files and async iterables."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterable
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ..errors import InvalidInput
from .base import Media
from .files import File, OpenFile
from .memory import Bytes, Link
from .stream import Stream

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | AsyncIterable[bytes] | Media
"""Everything that `as_media` accepts; a `str` is a URL if it starts with http:// or https://, else a path."""

_URL = re.compile(r"https?://", re.IGNORECASE)


def as_media(source: Source, *, size: int | None = None, name: str | None = None) -> Media:
    """Return media for a path, URL, bytes, open binary file or async iterable of bytes; media is returned as it is.

    `size`, in bytes, is for sources that do not know theirs: streams and files that cannot seek. `name` replaces the
    file name sent to the provider. Nothing is opened or read yet. Raises InvalidInput for any other type and for an
    invalid URL.
    """
    media = _coerce(source, size)
    if name is not None:
        media.rename(name)
    return media


def _coerce(source: object, size: int | None) -> Media:
    if isinstance(source, Media):
        return source
    if isinstance(source, str) and _URL.match(source):
        return Link(source, size=size)
    if isinstance(source, str | os.PathLike):
        return File(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return Bytes(bytes(source))
    if isinstance(source, AsyncIterable):
        return Stream(source, size=size)
    if callable(getattr(source, "read", None)):
        return OpenFile(source, size=size)  # type: ignore[arg-type]
    raise InvalidInput(
        "media must be a path, bytes, a URL, an open binary file or an async iterable of bytes, "
        f"not {type(source).__name__}"
    )


def optional_media(source: Source | None) -> Media | None:
    """Return media for a source, or None for None; the converter of provider options that are media."""
    return None if source is None else as_media(source)
