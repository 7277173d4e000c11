"""Files whose end is missing, by their own format, and pages of text that are served in place of media."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowatermark.media import as_media
from aiowatermark.media.completeness import is_truncated, page_kind
from aiowatermark.media.inspection import OutputInfo, ResultCheck, SourceContent
from aiowatermark.media.sniff import sniff
from tests.support.images import make_image, make_jpeg, make_noise
from tests.support.media_sources import stream_in_blocks
from tests.support.videos import make_mp4


def jpeg_with_thumbnail() -> bytes:
    """Return a JPEG with a complete smaller one in a segment before its data, as cameras write it."""
    data, thumbnail = make_noise(), make_noise(quality=5)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    return data[:2] + segment + data[2:]


FILES = {
    "jpeg": make_noise(),
    "progressive jpeg": make_noise(progressive=True),
    "jpeg with thumbnail": jpeg_with_thumbnail(),
    "jpeg without pixels": make_jpeg(padding=5000),
    "png": make_noise(kind="png"),
    "webp": make_noise(kind="webp"),
    "mp4": make_mp4(5000),
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_a_complete_file_is_complete_also_with_bytes_behind_it(data: bytes) -> None:
    name = sniff(data).format
    assert not is_truncated(data, name)
    if name != "mp4":
        assert not is_truncated(data + bytes(100), name)


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_a_file_that_is_cut_anywhere_is_truncated(data: bytes) -> None:
    for length in {*range(1, 300, 7), *range(300, len(data), 97), len(data) - 1}:
        cut = data[:length]
        assert is_truncated(cut, sniff(data).format), length


def test_the_boxes_of_a_video_may_have_any_form_of_size() -> None:
    head, moov = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0), struct.pack(">I4s", 8, b"moov")
    large = struct.pack(">I4sQ", 1, b"mdat", 116) + bytes(100)
    assert not is_truncated(head + moov + large, "mp4")
    assert is_truncated((head + moov + large)[:-1], "mp4")
    assert not is_truncated(head + moov + struct.pack(">I4s", 0, b"mdat") + bytes(100), "mp4")
    assert is_truncated(head + struct.pack(">I4s", 108, b"mdat") + bytes(100), "mp4")


@pytest.mark.parametrize("name", [None, "gif", "bmp", "tiff", "matroska", "unheard of"])
def test_other_formats_pass(name: str | None) -> None:
    assert not is_truncated(b"x", name)


@given(st.binary(max_size=200), st.sampled_from(["jpeg", "png", "webp", "mp4", "quicktime", "avif", "heic", None]))
def test_any_bytes_can_be_examined(data: bytes, name: str | None) -> None:
    assert is_truncated(data, name) in {True, False}
    page_kind(data)
    ResultCheck(video=False).examine(data, declared=True)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<!DOCTYPE html><html><body>Temporarily unavailable", "an HTML page"),
        ("\n\f <HTML>", "an HTML page"),
        ("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        ("<Error><Code>AccessDenied</Code></Error>", "an XML document"),
        ('{"status": 500, "message": "余额不足"}', "a JSON document"),
        ("[]", "a JSON document"),
    ],
)
def test_a_page_of_text_is_recognized(text: str, kind: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "gb18030"):
        assert page_kind(text.encode(encoding)) == kind
    assert page_kind((text + "é" * 10_000).encode()) == kind


@pytest.mark.parametrize(
    "data", [b"result", b"restored video", b"\x00\x01<html>", b"<\x00\xff\xfe binary", b"{\x00\x01\xff"]
)
def test_bytes_of_an_unknown_format_are_no_page(data: bytes) -> None:
    assert page_kind(data) is None
    assert ResultCheck(video=False).examine(data, declared=False) is None


# what a download does with it


def test_nothing_and_pages_and_files_of_another_kind_are_not_delivered() -> None:
    image, video = FILES["png"], FILES["mp4"]
    for data, asked_for_video, problem in (
        (b"", None, "is empty"),
        (b"<html>", None, "an HTML page"),
        (video, False, "is a mp4 file and not an image"),
        (image, True, "is a png file and not a video"),
    ):
        check = ResultCheck(video=asked_for_video)
        for _ in range(3):
            assert problem in (check.examine(data, declared=True) or "")
        assert ResultCheck(video=asked_for_video, verify=False).examine(data, declared=True) is None
    assert ResultCheck(video=True).examine(video, declared=True) is None
    assert ResultCheck(video=None).examine(video, declared=True) is None


def test_a_file_without_its_end_is_delivered_as_suspect_if_the_second_one_is_the_same() -> None:
    cut, other = FILES["png"][:-5], FILES["png"][:-6]
    check = ResultCheck(video=False)
    assert "end of the result is missing" in (check.examine(cut, declared=True) or "")
    assert "end of the result is missing" in (check.examine(other, declared=True) or "")
    assert check.examine(other, declared=True) is None
    assert check.suspect


def test_a_file_without_its_end_is_not_delivered_if_its_length_was_not_announced() -> None:
    check = ResultCheck(video=False)
    for _ in range(5):
        assert check.examine(FILES["jpeg"][:-2], declared=False)
    assert not check.suspect


def test_a_complete_file_after_a_truncated_one_is_not_suspect() -> None:
    check = ResultCheck(video=False)
    assert check.examine(FILES["jpeg"][:-2], declared=True)
    assert check.examine(FILES["jpeg"], declared=True) is None
    assert not check.suspect


def test_the_info_of_a_result_has_its_format_pixels_and_bytes() -> None:
    check = ResultCheck()
    check.examine(FILES["png"], declared=True)
    assert check.info == OutputInfo("png", 120, 90, len(FILES["png"]), None)


async def test_a_result_is_unchanged_if_it_equals_the_input(tmp_path: Path) -> None:
    data = FILES["png"]
    other = data[:-20] + bytes(20)
    (tmp_path / "photo.png").write_bytes(data)
    file = as_media(tmp_path / "photo.png")
    await file.measure()
    for media in (as_media(data), file):
        source = SourceContent.of(media)
        for content, unchanged in ((data, True), (other, False), (data + b"x", False), (b"", False)):
            check = ResultCheck(source=source, verify=False)
            check.examine(content, declared=True)
            assert check.info is not None
            assert check.info.unchanged is unchanged


async def test_it_is_not_known_whether_the_result_of_something_else_is_unchanged(tmp_path: Path) -> None:
    assert SourceContent.of(as_media("https://x.example/a.png")) is None
    assert SourceContent.of(as_media(stream_in_blocks(b"x"))) is None
    file = as_media(tmp_path / "gone.png")
    (tmp_path / "gone.png").write_bytes(b"x")
    await file.measure()
    source = SourceContent.of(file)
    (tmp_path / "gone.png").unlink()
    assert source is not None
    assert source.equals(b"x") is None


@pytest.mark.parametrize(
    ("pixels", "said"),
    [((16, 12), "has 32x24 pixels, its input 16x12"), ((24, 32), "its input 24x32"), ((32, 24), None), (None, None)],
)
def test_a_result_of_other_pixels_than_its_input_is_delivered_and_said(
    pixels: tuple[int, int] | None, said: str | None
) -> None:
    check = ResultCheck(False, source=SourceContent(1, pixels=pixels))
    assert check.examine(make_image(32, 24), declared=True) is None
    assert (check.resized is None) if said is None else said in (check.resized or "")
