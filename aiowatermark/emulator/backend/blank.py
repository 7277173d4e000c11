"""Blank images: grey PNGs made without OpenCV, for an emulator that does not restore."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache


# an emulator that does not restore answers every image with a mask of its size
@lru_cache(maxsize=64)
def plain_png(width: int, height: int, grey: int = 0) -> bytes:
    """Return a PNG of one grey value (0 to 255), `width` by `height` pixels, 8 bits per pixel."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    # every row begins with its filter type, 0 for none
    rows = (b"\0" + bytes([grey]) * width) * height
    pixels = zlib.compress(rows, 1)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
