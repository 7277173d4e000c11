"""Headers: the size of a BMP, the EXIF orientation, whether there is more than one frame, and the tracks of Matroska.

Everything is read from slices of the first bytes, which are shorter where the file ends: nothing here can raise, and
every loop has a bound or moves forward in at most 64 KiB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .boxes import is_sequence

_BMP_CORE, _BMP_OTHERS = 12, frozenset({16, 40, 52, 56, 64, 108, 124})
"""Bytes of the second header: that of OS/2 1.x has sides of 16 bits, all others have sides of 32 bits."""
_ORIENTATION_TAG = 0x0112
_MAX_TAGS = 512
_CODEC_ID = re.compile(rb"\x86(?:[\x81-\xbf]|\x40.)([VA])_", re.DOTALL)
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


def bmp_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height of a BMP, a negative height (rows from the top) as a positive one; None if it is none."""
    header = int.from_bytes(head[14:18], "little")
    if not head.startswith(b"BM") or len(head) < 26:
        return None
    if header == _BMP_CORE:
        return int.from_bytes(head[18:20], "little"), int.from_bytes(head[20:22], "little")
    if header not in _BMP_OTHERS:
        return None
    width, height = (int.from_bytes(head[at : at + 4], "little", signed=True) for at in (18, 22))
    return max(width, 0), abs(height)


def orientation(head: bytes) -> int:
    """Return the EXIF orientation of a JPEG, PNG, WebP or TIFF, from 1 to 8; 1 if there is none."""
    return next((value for exif in _exif_blocks(head) if (value := _orientation_of(exif))), 1)


def _exif_blocks(head: bytes) -> Iterator[bytes]:
    if head.startswith(b"\xff\xd8"):
        yield from (data[6:] for marker, data in _jpeg_segments(head) if marker == 0xE1 and data[:6] == b"Exif\0\0")
    elif head.startswith(b"\x89PNG"):
        yield from (data for name, data in _png_chunks(head) if name == b"eXIf")
    elif head.startswith(b"RIFF"):
        yield from (data.removeprefix(b"Exif\0\0") for name, data in _riff_chunks(head) if name == b"EXIF")
    elif head.startswith((b"II*\0", b"MM\0*")):
        yield head


def _orientation_of(exif: bytes) -> int | None:
    """Return the orientation in the first directory of a TIFF structure; None if it has none."""
    if not exif.startswith((b"II*\0", b"MM\0*")):
        return None

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], "big" if exif.startswith(b"MM") else "little")

    start = number(4, 4)
    for entry in range(start + 2, start + 2 + 12 * min(number(start, 2), _MAX_TAGS), 12):
        if number(entry, 2) == _ORIENTATION_TAG:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else None
    return None


def frame_count_above_one(head: bytes) -> bool:
    """Whether a GIF, PNG, WebP, AVIF or HEIC is animated, as far as its first bytes tell."""
    if head.startswith(b"GIF8"):
        return _gif_is_animated(head)
    if head.startswith(b"\x89PNG"):
        return any(name == b"acTL" and int.from_bytes(data[:4], "big") > 1 for name, data in _png_chunks(head))
    if head.startswith(b"RIFF"):
        return any(name == b"VP8X" and bool(data[:1]) and bool(data[0] & 2) for name, data in _riff_chunks(head))
    return is_sequence(head)


def _gif_is_animated(head: bytes) -> bool:
    """Whether a second frame begins in these bytes, or the extension that repeats frames is present."""
    at, frames = 13 + _colour_table_bytes(head[10:11]), 0
    while at < len(head):
        kind = head[at]
        if kind == 0x21 and head[at + 1 : at + 14] == b"\xff\x0bNETSCAPE2.0":
            return True
        if kind == 0x21:  # an extension: label, then blocks
            at = _after_blocks(head, at + 2)
        elif kind == 0x2C:  # a frame: 9 bytes, a colour table, the code size, then blocks
            frames += 1
            at = _after_blocks(head, at + 11 + _colour_table_bytes(head[at + 9 : at + 10]))
        else:
            break
    return frames > 1


def _colour_table_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _after_blocks(head: bytes, at: int) -> int:
    while at < len(head) and head[at]:
        at += head[at] + 1
    return at + 1


def _jpeg_segments(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of the segments before the image data."""
    at = 2
    while len(head) >= at + 4 and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF or marker in _STANDALONE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        size = int.from_bytes(head[at + 2 : at + 4], "big")
        if marker in {0xDA, 0xD9} or size < 2:
            return
        yield marker, head[at + 4 : at + 2 + size]
        at += 2 + size


def _png_chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of the chunks before the image data."""
    at = 8
    while len(head) >= at + 8 and (name := head[at + 4 : at + 8]) != b"IDAT":
        size = int.from_bytes(head[at : at + 4], "big")
        yield name, head[at + 8 : at + 8 + size]
        at += 12 + size


def _riff_chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of the chunks of a WebP."""
    at = 12
    while len(head) >= at + 8:
        size = int.from_bytes(head[at + 4 : at + 8], "little")
        yield head[at : at + 4], head[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def holds_sound_only(head: bytes) -> bool:
    """Whether the tracks at the start of a Matroska file are of sound, and none is of pictures (RFC 9559, CodecID)."""
    kinds = set(_CODEC_ID.findall(head))
    return b"A" in kinds and b"V" not in kinds
