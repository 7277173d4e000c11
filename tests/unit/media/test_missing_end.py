"""Inputs whose end is missing are refused before they are sent; a complete file never is, whatever follows it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiowatermark as aw
from aiowatermark.media import as_media, missing_end
from aiowatermark.media.base import CHUNK, SNIFF_BYTES, Media
from aiowatermark.media.missing_end import lacks_end
from aiowatermark.media.sniff import sniff
from aiowatermark.testing import ScriptedTransport
from tests.support.images import make_image, make_jpeg, make_noise
from tests.support.media_sources import stream_in_blocks
from tests.support.picwish import scripted_client
from tests.support.videos import make_mp4

LARGE = {
    "jpeg": make_noise(700, 500),
    "progressive jpeg": make_noise(700, 500, progressive=True),
    "png": make_noise(200, 150, "png"),
    "webp": make_noise(900, 600, "webp"),
}


def jpeg_with_thumbnail() -> bytes:
    """Return a JPEG with a complete smaller one in a segment before its data, as cameras write it."""
    data, thumbnail = make_noise(), make_noise(quality=5)
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    return data[:2] + segment + data[2:]


FILES = {
    "jpeg": make_noise(),
    "progressive jpeg": make_noise(progressive=True),
    "jpeg with thumbnail": jpeg_with_thumbnail(),
    "png": make_noise(kind="png"),
    "webp": make_noise(kind="webp"),
    **{f"large {name}": data for name, data in LARGE.items()},
}
# none of these has the end of a JPEG or of a PNG in it
RANDOM = bytes(number * number % 251 for number in range(300_000))
FOLLOWING = {
    "nothing": b"",
    "padding": bytes(100),
    "long padding": bytes(100_000),
    "a video": make_mp4(200_000),
    "random bytes": RANDOM,
    "another one that is cut": make_noise(700, 500)[:50_000],
}
Passed: TypeAlias = Callable[[bytes, Path], Media]


def as_file(data: bytes, folder: Path) -> Media:
    (folder / "image").write_bytes(data)
    return as_media(folder / "image")


def as_open_file(data: bytes, folder: Path) -> Media:
    del folder
    opened = io.BytesIO(b"skipped" + data)
    opened.seek(7)
    return as_media(opened)


def as_data_url(data: bytes, folder: Path) -> Media:
    del folder
    return as_media(f"data:;base64,{base64.b64encode(data).decode()}")


PASSED: dict[str, Passed] = {
    "bytes": lambda data, _: as_media(data),
    "path": as_file,
    "open file": as_open_file,
    "data URL": as_data_url,
}


async def is_incomplete(media: Media) -> bool:
    await media.measure()
    head, tail = await media.ends()
    return await lacks_end(media, head, tail, sniff(head).format)


def test_the_files_of_this_module_are_small_and_large() -> None:
    assert all(len(data) > SNIFF_BYTES for data in LARGE.values())


@pytest.mark.parametrize("passed", PASSED.values(), ids=PASSED)
@pytest.mark.parametrize("following", FOLLOWING.values(), ids=FOLLOWING)
async def test_a_complete_file_is_complete_whatever_follows_it(
    passed: Passed, following: bytes, tmp_path: Path
) -> None:
    for name, data in FILES.items():
        assert not await is_incomplete(passed(data + following, tmp_path)), name


@pytest.mark.parametrize("passed", PASSED.values(), ids=PASSED)
@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
async def test_a_file_that_is_cut_anywhere_is_incomplete(passed: Passed, data: bytes, tmp_path: Path) -> None:
    for length in (*range(30, 300, 67), len(data) // 2, len(data) - 100, len(data) - 1):
        assert await is_incomplete(passed(data[:length], tmp_path)), length


async def test_an_end_that_lies_across_two_blocks_is_found() -> None:
    data = make_jpeg(padding=CHUNK - 1 - len(make_jpeg()) + 2)
    assert data[CHUNK - 1 :] == b"\xff\xd9"
    assert not await is_incomplete(as_media(data + bytes(10_000)))


async def test_the_rest_of_a_very_large_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_end, "_MAX_SEARCHED_BYTES", 100_000)
    monkeypatch.setattr(type(as_media(b"x")), "blocks", None)
    media = as_media(make_noise(700, 500)[:-2])
    assert media.size is not None
    assert media.size > 100_000
    assert not await lacks_end(media, b"\xff\xd8\xff", bytes(4096), "jpeg")


async def test_what_can_be_read_only_once_and_other_formats_pass() -> None:
    for cut in (FILES["png"][:-20], FILES["jpeg"][:-20]):
        assert not await is_incomplete(as_media(stream_in_blocks(cut)))
    for kind in ("gif", "bmp", "tiff"):
        assert not await is_incomplete(as_media(make_image(kind=kind)[:-20]))


@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"RIFF"]), st.binary(max_size=200))
async def test_any_bytes_can_be_examined(start: bytes, data: bytes) -> None:
    assert await is_incomplete(as_media(start + data)) in {True, False}


@pytest.mark.parametrize("name", FILES)
async def test_an_incomplete_input_is_refused_before_anything_is_sent(name: str, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(FILES[name][:-1])
    transport = ScriptedTransport()
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match=r"^cut\.\w+ is incomplete: the end of the \w+ file is missing$"):
            await client.submit(tmp_path / "cut.jpg")
    assert not transport.requests
