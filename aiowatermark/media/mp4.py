"""How long an MP4 lasts and how many frames a second it has, from its boxes alone (ISO/IEC 14496-12)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import BinaryIO

from attrs import frozen

from .base import Media
from .files import File
from .memory import Bytes

# films have fewer boxes at the levels that matter, and a constant rate is a table of eight bytes; hostile files differ
_BOXES, _TIMES = 10_000, 1 << 20
_INSIDE = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})


@frozen
class Mp4Info:
    """What an MP4 says of itself: seconds and frames a second; None where it does not say."""

    duration: float | None = None
    fps: float | None = None


async def read_mp4_info(media: Media) -> Mp4Info:
    """What a file or bytes say of themselves, read off the loop; nothing of other media, and of what is no MP4."""
    if isinstance(media, File | Bytes):
        return await asyncio.to_thread(_open, media)
    return Mp4Info()


def _open(media: File | Bytes) -> Mp4Info:
    try:
        with io.BytesIO(media.data) if isinstance(media, Bytes) else media.path.open("rb") as opened:
            return parse_mp4(opened)
    except OSError:
        return Mp4Info()


def parse_mp4(file: BinaryIO) -> Mp4Info:
    """Walk through the boxes; whatever is damaged is not known."""
    duration: float | None = None
    fps: float | None = None
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
            frames = _frames(file.read(min(end - start, _TIMES)), end - start)
        if kind == b"vide" and seconds and frames:
            fps, seconds = fps or frames / seconds, None
    return Mp4Info(duration, fps)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Names and contents of boxes in the order of the file, those inside others after them; always forward."""
    for _ in range(_BOXES):
        file.seek(start)
        head = file.read(16)
        if len(head) < 8 or start >= end:
            return
        size, name, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1 and len(head) == 16:
            size, skip = int.from_bytes(head[8:], "big"), 16
        after = end if size == 0 else start + size
        if after < start + skip or after > end:
            return
        yield name, start + skip, after
        start = start + skip if name in _INSIDE else after


def _seconds(head: bytes) -> float | None:
    """The duration in `mvhd` and `mdhd`: version 1 has eight-byte times; all ones, or none, mean unknown."""
    at, size = (20, 8) if head[:1] == b"\x01" else (12, 4)
    if len(head) < at + 4 + size:
        return None
    scale, length = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 4 + size]
    if not scale or not any(length) or length == b"\xff" * size:
        return None
    return int.from_bytes(length, "big") / scale


def _frames(table: bytes, size: int) -> int:
    """Samples in `stts`; 0 where its table is not all there."""
    count = int.from_bytes(table[4:8], "big")
    if len(table) < 8 or size > len(table) or 8 + 8 * count > len(table):
        return 0
    return sum(int.from_bytes(table[at : at + 4], "big") for at in range(8, 8 + 8 * count, 8))
