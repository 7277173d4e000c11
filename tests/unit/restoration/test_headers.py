from __future__ import annotations

import sys
from subprocess import run

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.pictures import sample_photo
from aiowatermark.emulator.restoration import headers

FORMATS = ["jpeg", "png", "bmp", "webp", "tiff", "gif"]


def jpeg(*settings: int) -> bytes:
    return cv2.imencode(".jpeg", np.zeros((20, 30, 3), np.uint8), list(settings))[1].tobytes()


def turned(picture: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment that says how to turn it."""
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2) + b"\0\0"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + tag + b"\0\0\0\0"
    return headers.with_extras(picture, b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_tells_its_name_and_size(name: str) -> None:
    assert headers.picture_size(sample_photo(64, 48, format=name)) == (name, 64, 48)


def test_the_size_is_the_stored_one_however_the_picture_is_to_be_turned() -> None:
    assert headers.picture_size(turned(jpeg(), 6)) == ("jpeg", 30, 20)


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7 and so on", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_picture_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match="no picture"):
        headers.picture_size(data)


@pytest.mark.parametrize("name", FORMATS)
def test_a_header_cut_short_is_refused(name: str) -> None:
    kept = 9 if name == "gif" else 14
    with pytest.raises(ValueError, match="header is broken"):
        headers.picture_size(sample_photo(64, 48, format=name)[:kept])


def test_sizes_are_read_without_the_heavy_libraries() -> None:
    check = "import sys, aiowatermark.emulator.restoration.headers as h; sys.exit('cv2' in sys.modules or 'numpy' in sys.modules)"
    assert run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, (1, 1)),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, (2, 1)),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, (2, 2)),
    ],
)
def test_chroma_sampling_is_read_from_the_frame_header(setting: int, expected: tuple[int, int]) -> None:
    assert headers.sampling(jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, setting)) == expected


def test_extras_taken_from_one_jpeg_come_back_from_another() -> None:
    kept = headers.extras(turned(jpeg(), 6))
    assert kept.startswith(b"\xff\xe1")
    assert headers.extras(headers.with_extras(jpeg(), kept)) == kept


def test_a_gif_of_one_frame_stands_still_and_one_of_two_moves() -> None:
    gif = sample_photo(32, 24, format="gif")
    frame = gif[gif.index(b"\x2c\0\0\0\0\x20\0\x18\0") : -1]
    assert not headers.animated(gif)
    assert headers.animated(gif[:-1] + frame + b";")
