"""Duration and rate from an MP4's boxes; whatever is damaged is simply not known."""

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


FILM = mp4(track(b"soun", 44100, 441000, (430, 1024)), track(b"vide", 24, 240, (240, 1)))


def of(data: bytes) -> Mp4Info:
    return parse_mp4(io.BytesIO(data))


@pytest.mark.parametrize("fps", [24, 30])
async def test_a_real_film_says_how_long_and_how_fast_it_is(tmp_path: Path, fps: int) -> None:
    path = sample_video(tmp_path / "clip.mp4", seconds=1, fps=fps)
    for source in (path, path.read_bytes()):
        found = await read_mp4_info(as_media(source))
        assert found.fps == pytest.approx(fps)
        assert found.duration == pytest.approx(1.0, abs=0.1)


async def test_nothing_is_known_of_streams_links_and_files_that_are_gone(tmp_path: Path) -> None:
    for source in (io.BytesIO(FILM), "https://films.example/clip.mp4", tmp_path / "gone.mp4"):
        assert await read_mp4_info(as_media(source)) == Mp4Info()


def test_the_rate_is_that_of_the_pictures() -> None:
    assert of(FILM) == Mp4Info(10.0, 24.0)
    assert of(mp4(track(b"soun", 44100, 441000, (430, 1024)))) == Mp4Info(10.0, None)
    assert of(mp4(track(b"vide", 30000, 300300, (150, 1001), (150, 1001)), version=1)).fps == pytest.approx(
        29.97, 0.001
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff picture",
        box(b"ftyp", b"mp42"),
        mp4(seconds=0),
        box(b"moov", times(b"mvhd", 0, 1000)),
        box(b"moov", times(b"mvhd", 1000, 0xFFFFFFFF)),
        struct.pack(">I4s", 7, b"moov"),
        struct.pack(">I4sQ", 1, b"moov", 3),
        struct.pack(">I4sQ", 1, b"moov", 1 << 62),
    ],
)
def test_what_says_nothing_is_not_known(data: bytes) -> None:
    assert of(data) == Mp4Info()


def test_a_table_that_promises_more_than_it_has_is_not_believed() -> None:
    lie = box(b"stts", struct.pack(">II", 0, 1 << 31), struct.pack(">II", 240, 1))
    media = box(b"mdia", times(b"mdhd", 24, 240), box(b"hdlr", bytes(8), b"vide", bytes(12)), lie)
    assert of(mp4(box(b"trak", media))) == Mp4Info(10.0, None)


def test_a_file_of_nothing_but_boxes_is_given_up() -> None:
    assert of(box(b"moov", times(b"mvhd", 1000, 1000)) + box(b"free") * 200_000) == Mp4Info(1.0, None)
    assert of(b"".join(struct.pack(">I4s", 0, b"moov") for _ in range(20_000))) == Mp4Info()


@given(st.integers(0, len(FILM) - 1), st.binary(max_size=12))
def test_damage_anywhere_raises_nothing(at: int, damage: bytes) -> None:
    of(FILM[:at] + damage + FILM[at + len(damage) :])
    of(FILM[:at])


def test_noise_raises_nothing() -> None:
    for seed in range(200):
        of(random.Random(seed).randbytes(300))  # noqa: S311 - bytes, not keys
