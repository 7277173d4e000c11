"""Makes the bytes of videos: data that begins like an MP4, and a header with a duration."""

from __future__ import annotations

import random
import struct

MP4_HEAD = b"\0\0\0\x18ftypmp42"


def make_mp4(size: int) -> bytes:
    """Return `size` bytes that begin like an MP4 and repeat nowhere, so that misplaced ones are noticed."""
    return MP4_HEAD + random.Random(size).randbytes(size - len(MP4_HEAD))  # noqa: S311 - bytes, not keys


def make_mp4_header(seconds: float) -> bytes:
    """Return bytes in which the emulator finds the duration of a video (`mvhd`, version 0)."""
    return bytes(64) + b"mvhd" + struct.pack(">IIIII", 0, 0, 0, 1000, round(seconds * 1000)) + bytes(80)
