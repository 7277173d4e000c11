"""Images of every kind keep format, size and depth; what cannot be restored is refused with a sentence."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.pictures import landscape, psnr, sample_mark, sample_photo, stamp
from aiowatermark.emulator.restoration.headers import image_info, jpeg_subsampling, metadata_segments, with_metadata
from aiowatermark.emulator.restoration.pixels import Pixels, decode, encode_as
from aiowatermark.emulator.restoration.restore import restore
from tests.support.restored_media import to_16_bits

MARK = sample_mark()


def to_grey(pixels: Pixels) -> Pixels:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)


def to_translucent(pixels: Pixels) -> Pixels:
    return np.dstack([pixels, np.full(pixels.shape[:2], 200, np.uint8)])


@pytest.mark.parametrize("convert", [to_grey, to_translucent, to_16_bits])
def test_grey_translucent_and_16_bit_images_keep_their_channels_and_depth(convert: Callable[[Pixels], Pixels]) -> None:
    pixels = convert(landscape(400, 300, 4))
    marked, mask = stamp(encode_as(pixels, "png"), MARK)
    for restoration in (restore(marked, mark=MARK), restore(marked, mask=mask)):
        restored = decode(restoration.image)
        assert (restored.shape, restored.dtype) == (pixels.shape, pixels.dtype)
        error = (restored.astype(float) - pixels) / np.iinfo(pixels.dtype).max
        assert 10 * np.log10(1 / np.mean(error**2)) > 35


@pytest.mark.parametrize("name", ["jpeg", "png", "bmp", "webp", "tiff", "gif"])
def test_format_and_size_are_kept(name: str) -> None:
    original = sample_photo(401, 299, format=name)
    marked, mask = stamp(original, MARK)
    for restoration in (restore(marked, mark=MARK), restore(marked, mask=mask)):
        assert restoration.found
        assert image_info(restoration.image) == (name, 401, 299)
        assert psnr(original, restoration.image) > psnr(original, marked)


def test_orientation_and_chroma_subsampling_of_a_jpeg_are_kept() -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    settings = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    plain = cv2.imencode(".jpeg", landscape(400, 300), settings)[1].tobytes()
    image = with_metadata(plain, b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif)
    marked, _ = stamp(image, MARK)
    restoration = restore(marked, mark=MARK)
    assert restoration.found
    assert image_info(restoration.image) == ("jpeg", 400, 300)
    assert jpeg_subsampling(restoration.image) == (2, 2)
    assert metadata_segments(restoration.image) == metadata_segments(image) != b""


@pytest.mark.parametrize("size", [(20, 20), (5, 40), (1, 1)])
def test_tiny_images_are_returned_unchanged(size: tuple[int, int]) -> None:
    photo = sample_photo(*size, format="png")
    restoration = restore(photo, mark=MARK)
    assert (restoration.image, restoration.found) == (photo, False)
    assert decode(restoration.mask).shape == size[::-1]


@pytest.mark.parametrize("length", [200, 5000])
def test_a_truncated_image_is_refused_with_a_sentence(length: int) -> None:
    with pytest.raises(ValueError, match="broken"):
        restore(sample_photo()[:length], mark=MARK)


def test_data_that_is_not_an_image_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="not an image"):
        restore(b"hello", mark=MARK)


def test_an_animated_image_is_refused_rather_than_reduced_to_one_frame() -> None:
    gif = sample_photo(32, 24, format="gif")
    frame = gif[gif.index(b"\x2c\0\0\0\0\x20\0\x18\0") : -1]
    with pytest.raises(ValueError, match="animated gif"):
        restore(gif[:-1] + frame + b";", mark=MARK)


@pytest.mark.parametrize("mark", [sample_photo(64, 48), encode_as(np.zeros((9, 9, 4), np.uint8), "png")])
def test_a_mark_without_alpha_or_without_a_visible_pixel_is_refused(mark: bytes) -> None:
    with pytest.raises(ValueError, match=r"alpha channel|transparent everywhere"):
        restore(sample_photo(64, 48), mark=mark)
