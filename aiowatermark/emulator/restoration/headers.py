"""Image headers: format, size, chroma subsampling and metadata, read from the first bytes without decoding a pixel.

Needs neither OpenCV nor NumPy, so that the emulator can check images without its optional extras.
"""

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
# JPEG's start-of-frame markers: 0xC4, 0xC8 and 0xCC in between mean other things
_FRAME_MARKERS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_START_OF_SCAN = 0xDA
# marker and first bytes of the JPEG segments that change how an image is displayed
_METADATA = ((0xE1, b"Exif\0"), (0xE1, b"http://ns.adobe.com/xap/"), (0xE2, b"ICC_PROFILE\0"))


def image_format(data: bytes) -> str | None:
    """Return the format by the magic bytes: jpeg, png, bmp, webp, gif or tiff; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in _MAGIC if data.startswith(magic)), None)


def image_info(data: bytes) -> tuple[str, int, int]:
    """Return format (as `image_format`), width and height in pixels as stored; the EXIF orientation is ignored.

    Raises ValueError when the data is none of these formats or its header is broken.
    """
    name = image_format(data)
    if name is None:
        raise ValueError("This is not an image: its first bytes are not those of JPEG, PNG, BMP, WebP, GIF or TIFF.")
    width, height = imagesize.get(BytesIO(data), exif_rotation=False)
    # a BMP whose rows are stored from the top down has a negative height
    if width <= 0 or height == 0:
        raise ValueError(f"The {name} header is broken: it states no size.")
    return name, int(width), abs(int(height))


def is_animated(data: bytes) -> bool:
    """Whether a GIF, WebP or PNG holds more than one frame."""
    return (
        (data[:3] == b"GIF" and _gif_frames(data) > 1)
        or (data[:4] == b"RIFF" and b"ANIM" in data[12:2048])
        or (data[:4] == b"\x89PNG" and b"acTL" in data[:2048])
    )


def is_lossless_webp(data: bytes) -> bool:
    """Whether the pixels of a WebP are stored without loss."""
    return data[:4] == b"RIFF" and b"VP8L" in data[12:64]


def chroma_subsampling(image: bytes) -> tuple[int, int] | None:
    """Return how many times coarser than brightness colour is stored, across and down; None for a lossless format."""
    name = image_format(image)
    if name == "jpeg":
        return jpeg_subsampling(image)
    return (2, 2) if name == "webp" and not is_lossless_webp(image) else None


def jpeg_subsampling(jpeg: bytes) -> tuple[int, int]:
    """Return how many times fewer chroma than luma samples a JPEG holds, across and down: (1, 1), (2, 1), (2, 2) ..."""
    for marker, payload in _segments(jpeg):
        # precision, height, width, number of components, then for each: id, sampling factors, quantisation table
        if marker in _FRAME_MARKERS and len(payload) >= 15 and payload[5] >= 3:
            luma, chroma = payload[7], payload[10]
            return max(1, (luma >> 4) // max(1, chroma >> 4)), max(1, (luma & 15) // max(1, chroma & 15))
    return 1, 1


def metadata_segments(jpeg: bytes) -> bytes:
    """Return the segments of a JPEG that change how it is displayed (EXIF, XMP, colour profile), byte for byte."""
    segments = [
        (marker, payload)
        for marker, payload in _segments(jpeg)
        if any(marker == kind and payload.startswith(tag) for kind, tag in _METADATA)
    ]
    return b"".join(bytes([0xFF, marker]) + (len(load) + 2).to_bytes(2) + load for marker, load in segments)


def with_metadata(jpeg: bytes, segments: bytes) -> bytes:
    """Return the JPEG with the segments inserted; they follow the JFIF header, which must come first."""
    start = 2
    if jpeg[2:4] == b"\xff\xe0":
        start += 2 + int.from_bytes(jpeg[4:6])
    return jpeg[:start] + segments + jpeg[start:]


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and payload of each segment before the compressed pixels."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != _START_OF_SCAN:
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        yield jpeg[at + 1], jpeg[at + 4 : at + 2 + length]
        at += 2 + length


def _gif_frames(gif: bytes) -> int:
    """Return how many frames a GIF holds; counting stops at the end of the file, or where it is broken."""
    frames, at = 0, 13 + _colour_table_length(gif[10:11])
    # extensions (0x21) and images (0x2C), each followed by blocks that a zero length ends
    while gif[at : at + 1] in {b"\x21", b"\x2c"}:
        is_frame = gif[at] == 0x2C
        frames += is_frame
        at += 11 + _colour_table_length(gif[at + 9 : at + 10]) if is_frame else 2
        while at < len(gif) and gif[at]:
            at += 1 + gif[at]
        at += 1
    return frames


def _colour_table_length(flags: bytes) -> int:
    """Return the length in bytes of the colour table that a GIF's flags announce."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
