"""What the first bytes of a picture say: format, size, what belongs to it besides pixels; no pixel is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import imagesize

_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
)
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_EXTRAS = ((0xE1, b"Exif\0"), (0xE1, b"http://ns.adobe.com/xap/"), (0xE2, b"ICC_PROFILE\0"))


def picture_format(data: bytes) -> str | None:
    """The format the magic bytes name: jpeg, png, bmp, webp, gif or tiff; None when they name none of these."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in _MAGIC if data.startswith(magic)), None)


def picture_size(data: bytes) -> tuple[str, int, int]:
    """Format (jpeg, png, bmp, webp, gif or tiff), width and height in pixels as stored, whatever EXIF says of turning.

    Raises ValueError when the bytes are none of these or their header is broken.
    """
    name = picture_format(data)
    if name is None:
        raise ValueError("This is no picture: its first bytes are not those of JPEG, PNG, BMP, WebP, GIF or TIFF.")
    width, height = imagesize.get(BytesIO(data), exif_rotation=False)
    if width <= 0 or height == 0:
        raise ValueError(f"The {name} header is broken: it tells no size.")
    return name, int(width), abs(int(height))


def animated(data: bytes) -> bool:
    """Whether a GIF, WebP or PNG holds more than one frame."""
    return (
        (data[:3] == b"GIF" and _gif_frames(data) > 1)
        or (data[:4] == b"RIFF" and b"ANIM" in data[12:2048])
        or (data[:4] == b"\x89PNG" and b"acTL" in data[:2048])
    )


def lossless_webp(data: bytes) -> bool:
    """Whether the pixels of a WebP are stored without loss."""
    return data[:4] == b"RIFF" and b"VP8L" in data[12:64]


def chroma_of(picture: bytes) -> tuple[int, int] | None:
    """How many times coarser than brightness the colour is stored, across and down; None when stored without loss."""
    name = picture_format(picture)
    if name == "jpeg":
        return sampling(picture)
    return (2, 2) if name == "webp" and not lossless_webp(picture) else None


def sampling(jpeg: bytes) -> tuple[int, int]:
    """How many times fewer chroma than luma samples a JPEG holds, across and down: (1, 1), (2, 1), (2, 2) ..."""
    for marker, payload in _segments(jpeg):
        if marker in _FRAMES and len(payload) >= 15 and payload[5] >= 3:
            luma, chroma = payload[7], payload[10]
            return max(1, (luma >> 4) // max(1, chroma >> 4)), max(1, (luma & 15) // max(1, chroma & 15))
    return 1, 1


def extras(jpeg: bytes) -> bytes:
    """The segments of a JPEG that change how it is shown (EXIF, XMP, colour profile), as they stand, to be kept."""
    kept = [
        (marker, payload)
        for marker, payload in _segments(jpeg)
        if any(marker == wanted and payload.startswith(tag) for wanted, tag in _EXTRAS)
    ]
    return b"".join(bytes([0xFF, marker]) + (len(load) + 2).to_bytes(2) + load for marker, load in kept)


def with_extras(jpeg: bytes, segments: bytes) -> bytes:
    """The JPEG with the segments set in behind its JFIF header."""
    start = 2
    if jpeg[2:4] == b"\xff\xe0":
        start += 2 + int.from_bytes(jpeg[4:6])
    return jpeg[:start] + segments + jpeg[start:]


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and payload of each segment before the pixels begin."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        yield jpeg[at + 1], jpeg[at + 4 : at + 2 + length]
        at += 2 + length


def _gif_frames(gif: bytes) -> int:
    """How many frames a GIF holds; counting ends where the file does, or where it is broken."""
    frames, at = 0, 13 + _table(gif[10:11])
    while gif[at : at + 1] in {b"\x21", b"\x2c"}:
        is_frame = gif[at] == 0x2C
        frames += is_frame
        at += 11 + _table(gif[at + 9 : at + 10]) if is_frame else 2
        while at < len(gif) and gif[at]:
            at += 1 + gif[at]
        at += 1
    return frames


def _table(flags: bytes) -> int:
    """The length in bytes of the colour table that the flags announce."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
