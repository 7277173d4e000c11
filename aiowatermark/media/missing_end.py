"""Inputs whose end is missing: found before they are sent, because they would be charged for like complete ones.

    WebP   the length in the header is compared with that of the file
    JPEG   the end marker is searched for, behind the header: thumbnails in it have end markers of their own
    PNG    the last chunk is searched for

Each valid file has its end somewhere, but other data may follow it, such as the video of a motion photo, and of any
length. So a file is incomplete only if its end is nowhere: it is searched for in the last bytes, where nearly all files
have it, and only if it is not there, in the rest. The rest of very large files is not read; these pass, as do all other
formats, and media that can be read only once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

from .base import Media
from .completeness import jpeg_header_end, webp_length

_MAX_SEARCHED_BYTES = 64 << 20
_ENDS: Mapping[str | None, bytes] = {"jpeg": b"\xff\xd9", "png": b"\x00\x00\x00\x00IEND\xaeB`\x82"}


async def lacks_end(media: Media, head: bytes, tail: bytes | None, format_name: str | None) -> bool:
    """Whether the end of a file of this format is missing; `head` and `tail` are its first and its last bytes."""
    if tail is None or media.size is None:
        return False
    if format_name == "webp":
        return webp_length(head) > media.size
    if (end := _ENDS.get(format_name)) is None:
        return False
    start = jpeg_header_end(head) if format_name == "jpeg" else 0
    if tail.find(end, max(0, start - (media.size - len(tail)))) >= 0 or media.size > _MAX_SEARCHED_BYTES:
        return False
    if media.size <= len(head):
        return head.find(end, start) < 0
    return not await _contains(media, end, start)


async def _contains(media: Media, end: bytes, start: int) -> bool:
    """Whether media has these bytes at `start` or behind it."""
    position, kept = 0, b""
    async with aclosing(media.blocks()) as blocks:
        async for block in blocks:
            searched = kept + block
            if searched.find(end, max(0, start - position)) >= 0:
                return True
            kept = searched[1 - len(end) :]
            position += len(searched) - len(kept)
    return False
