"""Completeness: tells from the structure of a file whether its end is missing, and pages of text from media.

Nothing is decoded. What a format says of its own length is compared with the length there is:

    JPEG                  the end marker after the first scan; compressed data never contains it
    PNG                   the chunks up to IEND
    WebP                  the length in the header
    MP4, MOV, AVIF, HEIC  the boxes, none of which may end behind the file; a video also has its index (moov)

All other formats, and files whose structure is damaged otherwise, pass: this is about transfers, not about quality.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

_SCAN_OR_END = (b"\xda", b"\xd9", b"")
_MAX_PARTS = 1_000_000
"""Chunks or boxes of a file that are followed: a large PNG has some ten thousand."""
_HEAD_BYTES = 1 << 14
_START_BYTES = 12
"""Bytes by which every format with a check is recognized."""
_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_BEFORE_TEXT = b"\xef\xbb\xbf \t\r\n\f"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_TAG = re.compile(rb"<(?:[a-z!?/]|\Z)")


class Content(Protocol):
    """Bytes in memory or a mapped file."""

    def __len__(self) -> int:
        """Return the number of bytes."""
        ...

    def __getitem__(self, index: slice, /) -> bytes | bytearray:
        """Return a part of the bytes."""
        ...

    def find(self, sub: bytes, start: int = ..., /) -> int:
        """Return where `sub` is first found, -1 if nowhere."""
        ...


def is_truncated(content: Content, format_name: str | None) -> bool:
    """Whether the end of a file of this format is missing, or so much that only the start of a known one is left."""
    if format_name is None:
        start = bytes(content[:_START_BYTES])
        return len(content) < _START_BYTES and (
            start[:3] == b"\0\0\0" or any(each.startswith(start) for each in _STARTS)
        )
    check = _CHECKS.get(format_name)
    return check is not None and check(content)


def page_kind(content: Content) -> str | None:
    """Return what a text is that a server sent in place of media: "an HTML page", for example; None for anything else.

    `content` is of no known format of media.
    """
    head = bytes(content[:_HEAD_BYTES])
    if head.startswith(_UTF_16_MARKS):
        head = head.decode("utf-16", errors="ignore").encode(errors="ignore")
    head = head.lstrip(_BEFORE_TEXT).lower()
    # in any encoding, text has no control characters
    if _CONTROL.search(head):
        return None
    if head.startswith((b"{", b"[")):
        return "a JSON document"
    if not _TAG.match(head):
        return None
    return "an HTML page" if b"<html" in head or head.startswith(b"<!doctype html") else "an XML document"


def _lacks_jpeg_end(content: Content) -> bool:
    position = 2
    # the segments before the first scan may hold thumbnails, which are complete images themselves
    while (head := bytes(content[position : position + 4])).startswith(b"\xff") and head[1:2] not in _SCAN_OR_END:
        position += 1 if head[1:2] == b"\xff" else 2 + int.from_bytes(head[2:], "big")
    return content.find(b"\xff\xd9", position) < 0


def _lacks_png_end(content: Content) -> bool:
    for kind, end in _png_chunks(content):
        if end > len(content):
            return True
        if kind == b"IEND":
            return False
    return True


def _png_chunks(content: Content) -> Iterator[tuple[bytes, int]]:
    position = 8
    for _ in range(_MAX_PARTS):
        head = bytes(content[position : position + 8])
        if len(head) < 8:
            return
        position += 12 + int.from_bytes(head[:4], "big")
        yield head[4:], position


def _lacks_webp_end(content: Content) -> bool:
    return int.from_bytes(content[4:8], "little") + 8 > len(content)


def _lacks_box_end(content: Content) -> bool:
    ends = dict(_boxes(content))
    return max(ends.values(), default=0) > len(content)


def _lacks_video_end(content: Content) -> bool:
    boxes = dict(_boxes(content))
    return max(boxes.values(), default=0) > len(content) or b"moov" not in boxes


def _boxes(content: Content) -> Iterator[tuple[bytes, int]]:
    """Yield the kind and the end of each box in a file, the last one perhaps behind the end of the file."""
    position = 0
    for _ in range(_MAX_PARTS):
        head = bytes(content[position : position + 16])
        if not head:
            return
        if len(head) < 8:
            yield head[4:], position + 8
            return
        size, kind = struct.unpack(">I4s", head[:8])
        if size == 1:
            size = int.from_bytes(head[8:16].ljust(8, b"\xff"), "big")
        # a size of 0 means: to the end of the file
        position = len(content) if size == 0 else position + max(size, 8)
        yield kind, position


_CHECKS: Mapping[str, Callable[[Content], bool]] = {
    "jpeg": _lacks_jpeg_end,
    "png": _lacks_png_end,
    "webp": _lacks_webp_end,
    "mp4": _lacks_video_end,
    "quicktime": _lacks_video_end,
    "avif": _lacks_box_end,
    "heic": _lacks_box_end,
}
