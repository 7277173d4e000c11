from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.pictures import landscape, psnr, sample_mark, sample_photo, stamp
from aiowatermark.emulator.restoration.headers import extras, picture_size, sampling, with_extras
from aiowatermark.emulator.restoration.pixels import Pixels, decode, encode_as
from aiowatermark.emulator.restoration.restore import restore

MARK = sample_mark()


def grey(pixels: Pixels) -> Pixels:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)


def translucent(pixels: Pixels) -> Pixels:
    return np.dstack([pixels, np.full(pixels.shape[:2], 200, np.uint8)])


def deep(pixels: Pixels) -> Pixels:
    return pixels.astype(np.uint16) * 257


@pytest.mark.parametrize("kind", [grey, translucent, deep])
def test_grey_translucent_and_16_bit_pictures_stay_what_they_are(kind: Callable[[Pixels], Pixels]) -> None:
    pixels = kind(landscape(400, 300, 4))
    marked, white = stamp(encode_as(pixels, "png"), MARK)
    for done in (restore(marked, mark=MARK), restore(marked, mask=white)):
        restored = decode(done.image)
        assert (restored.shape, restored.dtype) == (pixels.shape, pixels.dtype)
        error = (restored.astype(float) - pixels) / np.iinfo(pixels.dtype).max
        assert 10 * np.log10(1 / np.mean(error**2)) > 35


@pytest.mark.parametrize("name", ["jpeg", "png", "bmp", "webp", "tiff", "gif"])
def test_the_format_and_the_size_stay_as_they_were(name: str) -> None:
    original = sample_photo(401, 299, format=name)
    marked, white = stamp(original, MARK)
    for done in (restore(marked, mark=MARK), restore(marked, mask=white)):
        assert done.found
        assert picture_size(done.image) == (name, 401, 299)
        assert psnr(original, done.image) > psnr(original, marked)


def test_orientation_and_chroma_sampling_of_a_jpeg_are_kept() -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    settings = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    plain = cv2.imencode(".jpeg", landscape(400, 300), settings)[1].tobytes()
    picture = with_extras(plain, b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif)
    marked, _ = stamp(picture, MARK)
    done = restore(marked, mark=MARK)
    assert done.found
    assert picture_size(done.image) == ("jpeg", 400, 300)
    assert sampling(done.image) == (2, 2)
    assert extras(done.image) == extras(picture) != b""


@pytest.mark.parametrize("size", [(20, 20), (5, 40), (1, 1)])
def test_tiny_pictures_do_no_harm(size: tuple[int, int]) -> None:
    photo = sample_photo(*size, format="png")
    done = restore(photo, mark=MARK)
    assert (done.image, done.found) == (photo, False)
    assert decode(done.mask).shape == size[::-1]


@pytest.mark.parametrize("kept", [200, 5000])
def test_a_picture_cut_short_is_refused_with_a_sentence(kept: int) -> None:
    with pytest.raises(ValueError, match="broken"):
        restore(sample_photo()[:kept], mark=MARK)


def test_what_is_no_picture_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="no picture"):
        restore(b"hello", mark=MARK)


def test_a_moving_picture_is_refused_rather_than_stopped() -> None:
    gif = sample_photo(32, 24, format="gif")
    frame = gif[gif.index(b"\x2c\0\0\0\0\x20\0\x18\0") : -1]
    with pytest.raises(ValueError, match="animated gif"):
        restore(gif[:-1] + frame + b";", mark=MARK)


@pytest.mark.parametrize("mark", [sample_photo(64, 48), encode_as(np.zeros((9, 9, 4), np.uint8), "png")])
def test_a_mark_without_anything_to_see_through_or_to_see_is_refused(mark: bytes) -> None:
    with pytest.raises(ValueError, match=r"alpha channel|transparent everywhere"):
        restore(sample_photo(64, 48), mark=mark)
