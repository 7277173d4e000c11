"""The duration of an MP4 file, read from its header without decoding anything (ISO/IEC 14496-12, the `mvhd` box)."""

from __future__ import annotations

from pathlib import Path

# bytes; the header is at the start of a file for streaming, and at the end of one as cameras write it
_WINDOW = 1 << 20


def duration_of(path: Path) -> float:
    """Return the duration in seconds, or 0 when the first and the last megabyte of the file do not state it."""
    with path.open("rb") as file:
        ends = [file.read(_WINDOW)]
        file.seek(max(0, path.stat().st_size - _WINDOW))
        ends.append(file.read(_WINDOW))
    return next((seconds for data in ends if (seconds := _duration(data))), 0.0)


def _duration(data: bytes) -> float:
    at = data.find(b"mvhd") + 4
    if at < 4 or at + 32 > len(data):
        return 0.0
    # version 1 has eight-byte times and an eight-byte duration
    wide = data[at] == 1
    scale_at, size = (at + 20, 8) if wide else (at + 12, 4)
    scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
    length = int.from_bytes(data[scale_at + 4 : scale_at + 4 + size], "big")
    return length / scale if scale else 0.0
