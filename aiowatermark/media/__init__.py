"""Media: bytes to send or receive, from paths, bytes, URLs, open files and async iterables."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ..errors import InvalidInput
from ..suggestions import forgotten_await
from .base import Media
from .files import File
from .memory import Bytes, Link, parse_data_url
from .open_file import OpenFile
from .stream import Stream


class Readable(Protocol):
    """An open object: a file, an upload of a web framework, the body of an answer; it need not have another method."""

    @property
    def read(self) -> Callable[..., Any]:
        """`read(size)` or `read()`, a coroutine function or not: gives bytes, none at the end, None for "not yet"."""
        ...


Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | AsyncIterable[bytes] | Media
"""Everything that `as_media` accepts; a `str` is a URL if it starts with http://, https:// or data:, else a path."""

_URL = re.compile(r"https?://", re.IGNORECASE)
_OTHER_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_DATA_URL = re.compile(r"data:[^,/]*(/[^,]*)?,", re.IGNORECASE)
# types of other packages that hold pixels, and what to pass instead; `module.name` of the type
_PIXELS = {
    "numpy.ndarray": (
        "an array holds pixels, not a file: pass aw.image(array), whose order is red, green, blue "
        "(OpenCV's: array[..., ::-1])"
    ),
    "PIL.Image.Image": "a PIL image holds pixels, not a file: pass aw.image(image)",
}


def as_media(source: Source, *, size: int | None = None, name: str | None = None) -> Media:
    """Return media for a path, URL, bytes, open object or async iterable of bytes; media is returned as it is.

    An open object has a method `read`, synchronous or asynchronous; nothing else is required of it. `size`, in bytes,
    is for sources that do not know theirs: streams and objects that cannot seek. `name` replaces the file name sent to
    the provider. Nothing is opened or read yet. Raises InvalidInput for any other type and for an invalid URL.
    """
    media = _coerce(source, size)
    if name is not None:
        media.rename(name)
    return media


def _coerce(source: object, size: int | None) -> Media:
    if isinstance(source, str):
        return _from_text(source, size)
    if isinstance(source, Media):
        return source
    if isinstance(source, os.PathLike):
        return File(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return Bytes(bytes(source))
    if callable(getattr(source, "read", None)):
        return OpenFile(source, size=size)
    if isinstance(source, AsyncIterable):
        return Stream(source, size=size)
    raise InvalidInput(_refusal(source))


def _from_text(text: str, size: int | None) -> Media:
    if _URL.match(text):
        return Link(text, size=size)
    if _DATA_URL.match(text):
        return parse_data_url(text)
    if other := _OTHER_URL.match(text):
        raise InvalidInput(_url_refusal(other[1].lower()))
    return File(Path(text))


def _url_refusal(scheme: str) -> str:
    if scheme == "file":
        return 'a file:// URL names a file of this machine: pass its path, such as "photos/photo.jpg"'
    return f"no provider fetches {scheme}:// URLs: pass an https:// URL, or download the file and pass its path"


def _refusal(source: object) -> str:
    if message := forgotten_await(source):
        return message
    for kind in type(source).__mro__:
        if advice := _PIXELS.get(f"{kind.__module__}.{kind.__qualname__}"):
            return advice
    return (
        "media must be a path, bytes, a URL, an open binary file or an async iterable of bytes, "
        f"not {type(source).__name__}"
    )


def optional_media(source: Source | None) -> Media | None:
    """Return media for a source, or None for None; the converter of provider options that are media."""
    return None if source is None else as_media(source)
