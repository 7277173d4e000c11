"""Bytes in and out: paths, bytes, links, open files and streams, each opened anew where it can be."""

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

_LINK = re.compile(r"https?://", re.IGNORECASE)


def as_media(source: Source, *, size: int | None = None, name: str | None = None) -> Media:
    """Media of anything that holds bytes; `size` in bytes and `name` are for streams.

    Raises InvalidInput for what holds none. Nothing is opened or read yet.
    """
    media = _coerce(source, size)
    if name is not None:
        media.rename(name)
    return media


def _coerce(source: object, size: int | None) -> Media:
    if isinstance(source, Media):
        return source
    if isinstance(source, str) and _LINK.match(source):
        return Link(source, size=size)
    if isinstance(source, str | os.PathLike):
        return File(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return Bytes(bytes(source))
    if isinstance(source, AsyncIterable):
        return Stream(source, size=size)
    if callable(getattr(source, "read", None)):
        return OpenFile(source, size=size)  # type: ignore[arg-type]
    kind = type(source).__name__
    raise InvalidInput(f"media is a path, bytes, a link, an open binary file or an async iterable of bytes, not {kind}")


def optional_media(source: Source | None) -> Media | None:
    """Media, or None for None: the converter of options that are media."""
    return None if source is None else as_media(source)
