"""MP4 headers: reads a video's duration and frame rate from the boxes of the file (ISO/IEC 14496-12)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from attrs import frozen

from ..clock import in_thread
from .base import Media
from .files import File
from .memory import Bytes

# Limits against hostile files. Real videos have far fewer boxes on these levels, and the table of a video with a
# constant frame rate has eight bytes.
_MAX_BOXES, _MAX_TABLE_BYTES = 10_000, 1 << 20
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})


@frozen
class Mp4Info:
    """Duration in seconds and frames per second of an MP4; None where the file does not tell."""

    duration: float | None = None
    fps: float | None = None


async def read_mp4_info(media: Media) -> Mp4Info:
    """Return what a file or bytes tell, read in a worker thread; an empty Mp4Info for other media and other formats."""
    if isinstance(media, File | Bytes):
        return await in_thread(_read_info, media)
    return Mp4Info()


def _read_info(media: File | Bytes) -> Mp4Info:
    try:
        with io.BytesIO(media.data) if isinstance(media, Bytes) else media.path.open("rb") as file:
            return parse_mp4(file)
    except OSError:
        return Mp4Info()


def parse_mp4(file: BinaryIO) -> Mp4Info:
    """Return what the boxes of a file tell; damaged boxes count as missing."""
    duration: float | None = None
    fps: float | None = None
    # of the current track: `hdlr` has its kind, `mdhd` its duration, `stts` its number of frames
    kind, seconds, frames = b"", None, 0
    size = file.seek(0, io.SEEK_END)
    for name, start, end in _boxes(file, 0, size):
        file.seek(start)
        if name == b"mvhd":
            duration = _seconds(file.read(36))
        elif name == b"trak":
            kind, seconds, frames = b"", None, 0
        elif name == b"mdhd":
            seconds = _seconds(file.read(36))
        elif name == b"hdlr":
            kind = kind or file.read(12)[8:]
        elif name == b"stts":
            frames = _frames(file.read(min(end - start, _MAX_TABLE_BYTES)), end - start)
        if kind == b"vide" and seconds and frames:
            fps, seconds = fps or frames / seconds, None
    return Mp4Info(duration, fps)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each box's content in file order, a container before the boxes in it.

    The position only moves forward, so a file cannot cause an endless loop.
    """
    for _ in range(_MAX_BOXES):
        file.seek(start)
        header = file.read(16)
        if len(header) < 8 or start >= end:
            return
        size, name, header_size = int.from_bytes(header[:4], "big"), header[4:8], 8
        # size 1: a 64-bit size follows the name; size 0: the box extends to the end of the file
        if size == 1 and len(header) == 16:
            size, header_size = int.from_bytes(header[8:], "big"), 16
        box_end = end if size == 0 else start + size
        if box_end < start + header_size or box_end > end:
            return
        yield name, start + header_size, box_end
        start = start + header_size if name in _CONTAINERS else box_end


def _seconds(header: bytes) -> float | None:
    """Return the duration in an `mvhd` or `mdhd` box; None if it is missing, zero or all ones, which mean unknown."""
    # version 1 has 64-bit times, version 0 has 32-bit times
    offset, size = (20, 8) if header[:1] == b"\x01" else (12, 4)
    if len(header) < offset + 4 + size:
        return None
    scale, length = int.from_bytes(header[offset : offset + 4], "big"), header[offset + 4 : offset + 4 + size]
    if not scale or not any(length) or length == b"\xff" * size:
        return None
    return int.from_bytes(length, "big") / scale


def _frames(table: bytes, size: int) -> int:
    """Return the number of samples in an `stts` box of `size` bytes; 0 if `table` is not all of it."""
    count = int.from_bytes(table[4:8], "big")
    if len(table) < 8 or size > len(table) or 8 + 8 * count > len(table):
        return 0
    # entries of eight bytes: number of samples, duration of each
    return sum(int.from_bytes(table[entry : entry + 4], "big") for entry in range(8, 8 + 8 * count, 8))
