"""Routes: finds the key in a request path, the same way in both bridges."""

from __future__ import annotations


def key_from_path(path: str) -> str:
    """Return the key in a path: the last segment, or the one before it if the last is a file name."""
    segments = path.rstrip("/").rsplit("/", 2)[-2:]
    # a key contains no dot; the name of a lent file is recognised by its extension
    return segments[0] if "." in segments[-1] and len(segments) == 2 else segments[-1]
