"""MP4 headers: duration and frame rate, and damaged files, about which nothing is known."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowatermark.emulator.restoration.video.restore import sample_video
from aiowatermark.media import as_media
from aiowatermark.media.mp4 import Mp4Info, parse_mp4, read_mp4_info


def box(name: bytes, *inside: bytes, wide: bool = False) -> bytes:
    body = b"".join(inside)
    if wide:
        return struct.pack(">I4sQ", 1, name, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, name) + body


def times(name: bytes, scale: int, length: int, version: int = 0) -> bytes:
    if version:
        return box(name, struct.pack(">IQQIQ", 1 << 24, 0, 0, scale, length), bytes(16))
    return box(name, struct.pack(">IIIII", 0, 0, 0, scale, length), bytes(16))


def track(kind: bytes, scale: int, length: int, *runs: tuple[int, int]) -> bytes:
    table = struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)
    tables = box(b"minf", box(b"stbl", box(b"stsd", bytes(20)), box(b"stts", table)))
    handler = box(b"hdlr", bytes(8), kind, bytes(12))
    return box(b"trak", box(b"tkhd", bytes(84)), box(b"mdia", times(b"mdhd", scale, length), handler, tables))


def mp4(*tracks: bytes, seconds: float = 10.0, version: int = 0) -> bytes:
    moov = box(b"moov", times(b"mvhd", 1000, int(seconds * 1000), version), *tracks)
    return box(b"ftyp", b"mp42", bytes(8)) + box(b"mdat", bytes(1000), wide=True) + moov


VIDEO = mp4(track(b"soun", 44100, 441000, (430, 1024)), track(b"vide", 24, 240, (240, 1)))


def parse(data: bytes) -> Mp4Info:
    return parse_mp4(io.BytesIO(data))


@pytest.mark.parametrize("fps", [24, 30])
async def test_duration_and_frame_rate_of_a_real_video_are_read(tmp_path: Path, fps: int) -> None:
    path = sample_video(tmp_path / "clip.mp4", seconds=1, fps=fps)
    for source in (path, path.read_bytes()):
        info = await read_mp4_info(as_media(source))
        assert info.fps == pytest.approx(fps)
        assert info.duration == pytest.approx(1.0, abs=0.1)


async def test_nothing_is_known_about_streams_urls_and_missing_files(tmp_path: Path) -> None:
    for source in (io.BytesIO(VIDEO), "https://videos.example/clip.mp4", tmp_path / "missing.mp4"):
        assert await read_mp4_info(as_media(source)) == Mp4Info()


def test_the_frame_rate_is_that_of_the_video_track() -> None:
    assert parse(VIDEO) == Mp4Info(10.0, 24.0)
    assert parse(mp4(track(b"soun", 44100, 441000, (430, 1024)))) == Mp4Info(10.0, None)
    assert parse(mp4(track(b"vide", 30000, 300300, (150, 1001), (150, 1001)), version=1)).fps == pytest.approx(
        29.97, 0.001
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff image",
        box(b"ftyp", b"mp42"),
        mp4(seconds=0),
        box(b"moov", times(b"mvhd", 0, 1000)),
        box(b"moov", times(b"mvhd", 1000, 0xFFFFFFFF)),
        struct.pack(">I4s", 7, b"moov"),
        struct.pack(">I4sQ", 1, b"moov", 3),
        struct.pack(">I4sQ", 1, b"moov", 1 << 62),
    ],
)
def test_a_file_without_valid_times_is_unknown(data: bytes) -> None:
    assert parse(data) == Mp4Info()


def test_a_table_shorter_than_its_declared_size_is_ignored() -> None:
    short_table = box(b"stts", struct.pack(">II", 0, 1 << 31), struct.pack(">II", 240, 1))
    media = box(b"mdia", times(b"mdhd", 24, 240), box(b"hdlr", bytes(8), b"vide", bytes(12)), short_table)
    assert parse(mp4(box(b"trak", media))) == Mp4Info(10.0, None)


def test_parsing_stops_after_a_maximum_number_of_boxes() -> None:
    assert parse(box(b"moov", times(b"mvhd", 1000, 1000)) + box(b"free") * 200_000) == Mp4Info(1.0, None)
    assert parse(b"".join(struct.pack(">I4s", 0, b"moov") for _ in range(20_000))) == Mp4Info()


@given(st.integers(0, len(VIDEO) - 1), st.binary(max_size=12))
def test_damage_at_any_offset_raises_no_error(offset: int, damage: bytes) -> None:
    parse(VIDEO[:offset] + damage + VIDEO[offset + len(damage) :])
    parse(VIDEO[:offset])


def test_random_bytes_raise_no_error() -> None:
    for seed in range(200):
        parse(random.Random(seed).randbytes(300))  # noqa: S311 - bytes, not keys
