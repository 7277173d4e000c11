"""Image headers: format, size, chroma subsampling and metadata, without OpenCV and NumPy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.pictures import sample_photo
from aiowatermark.emulator.restoration import headers
from tests.support.processes import run_python

FORMATS = ["jpeg", "png", "bmp", "webp", "tiff", "gif"]


def jpeg(*settings: int) -> bytes:
    return cv2.imencode(".jpeg", np.zeros((20, 30, 3), np.uint8), list(settings))[1].tobytes()


def with_orientation(image: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF segment that states an orientation."""
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2) + b"\0\0"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + tag + b"\0\0\0\0"
    return headers.with_metadata(image, b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif)


@pytest.mark.parametrize("name", FORMATS)
def test_format_and_size_of_every_format_are_read(name: str) -> None:
    assert headers.image_info(sample_photo(64, 48, format=name)) == (name, 64, 48)


def test_the_size_is_the_stored_one_whatever_the_orientation() -> None:
    assert headers.image_info(with_orientation(jpeg(), 6)) == ("jpeg", 30, 20)


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7 and so on", b"RIFF\0\0\0\0WAVE"])
def test_data_that_is_not_an_image_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an image"):
        headers.image_info(data)


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_header_is_refused(name: str) -> None:
    length = 9 if name == "gif" else 14
    with pytest.raises(ValueError, match="header is broken"):
        headers.image_info(sample_photo(64, 48, format=name)[:length])


async def test_headers_are_read_without_importing_opencv_and_numpy() -> None:
    check = (
        "import sys, aiowatermark.emulator.restoration.headers as h;"
        "sys.exit('cv2' in sys.modules or 'numpy' in sys.modules)"
    )
    assert (await run_python("-c", check)).code == 0


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, (1, 1)),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, (2, 1)),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, (2, 2)),
    ],
)
def test_chroma_subsampling_is_read_from_the_frame_header(setting: int, expected: tuple[int, int]) -> None:
    assert headers.jpeg_subsampling(jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, setting)) == expected


def test_metadata_inserted_into_another_jpeg_is_read_back() -> None:
    segments = headers.metadata_segments(with_orientation(jpeg(), 6))
    assert segments.startswith(b"\xff\xe1")
    assert headers.metadata_segments(headers.with_metadata(jpeg(), segments)) == segments


def test_a_gif_is_animated_from_two_frames_on() -> None:
    gif = sample_photo(32, 24, format="gif")
    frame = gif[gif.index(b"\x2c\0\0\0\0\x20\0\x18\0") : -1]
    assert not headers.is_animated(gif)
    assert headers.is_animated(gif[:-1] + frame + b";")
