"""Makes the bytes of videos: data that begins like an MP4, and a header with a duration."""

from __future__ import annotations

import random
import struct

MP4_HEAD = b"\0\0\0\x18ftypmp42"


def make_mp4(size: int) -> bytes:
    """Return `size` bytes: the boxes of an MP4, and data that repeats nowhere, so that misplaced bytes are noticed."""
    start, end = MP4_HEAD + bytes(12), struct.pack(">I4s", 8, b"moov")
    length = size - len(start) - len(end)
    data = random.Random(size).randbytes(length - 8)  # noqa: S311 - bytes, not keys
    return start + struct.pack(">I4s", length, b"mdat") + data + end


def make_mp4_header(seconds: float) -> bytes:
    """Return bytes in which the emulator finds the duration of a video (`mvhd`, version 0)."""
    return bytes(64) + b"mvhd" + struct.pack(">IIIII", 0, 0, 0, 1000, round(seconds * 1000)) + bytes(80)
