"""Where in a path a key stands, and what is said of lent media: the same behind every door."""

from __future__ import annotations

import mimetypes

from ..media.base import Media


def key_from_path(path: str) -> str:
    """The key in a path: its last segment, or the one before a lent file's name."""
    segments = path.rstrip("/").rsplit("/", 2)[-2:]
    return segments[0] if "." in segments[-1] and len(segments) == 2 else segments[-1]


def content_type(media: Media) -> str:
    """The type a lent file is served with."""
    return mimetypes.guess_type(media.name)[0] or "application/octet-stream"


def asgi_headers(media: Media) -> list[tuple[bytes, bytes]]:
    """A lent file's headers, for ASGI."""
    headers = [(b"content-type", content_type(media).encode())]
    if media.size is not None:
        headers.append((b"content-length", str(media.size).encode()))
    return headers
