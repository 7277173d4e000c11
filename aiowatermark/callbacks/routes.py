"""Routes: finds the key in a request path and describes lent media, the same way in both bridges."""

from __future__ import annotations

import mimetypes

from ..media.base import Media


def key_from_path(path: str) -> str:
    """Return the key in a path: the last segment, or the one before it if the last is a file name."""
    segments = path.rstrip("/").rsplit("/", 2)[-2:]
    # a key contains no dot; the name of a lent file is recognised by its extension
    return segments[0] if "." in segments[-1] and len(segments) == 2 else segments[-1]


def content_type(media: Media) -> str:
    """Return the Content-Type a lent file is served with."""
    return mimetypes.guess_type(media.name)[0] or "application/octet-stream"


def asgi_headers(media: Media) -> list[tuple[bytes, bytes]]:
    """Return the response headers of a lent file in ASGI's form."""
    headers = [(b"content-type", content_type(media).encode())]
    if media.size is not None:
        headers.append((b"content-length", str(media.size).encode()))
    return headers
