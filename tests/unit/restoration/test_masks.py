"""Masks: from brush strokes, united, in any pixel format, and refused when they do not fit."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.pictures import sample_mask
from aiowatermark.emulator.restoration.pixels import Grey, Pixels, decode, encode_as
from aiowatermark.emulator.restoration.restore import restore, strokes_to_mask, union
from tests.support.restored_media import to_16_bits

SIZE = (120, 160)


def rectangle(row: int, column: int) -> Grey:
    """A mask with a white area of 20 x 30 pixels."""
    mask = np.zeros(SIZE, np.uint8)
    mask[row : row + 20, column : column + 30] = 255
    return mask


def draw_stroke(colour: tuple[int, int, int]) -> tuple[Pixels, Grey]:
    """An image, half black and half white, with a brush stroke (BGR) over both; and the mask of the stroke."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, 80:] = 255
    stroke = rectangle(60, 65)
    image[stroke > 0] = colour
    return image, stroke


@pytest.mark.parametrize("colour", [(0, 0, 255), (255, 0, 0), (128, 128, 128), (40, 200, 90), (0, 255, 255)])
@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_a_stroke_of_any_colour_is_white_in_the_mask(name: str, colour: tuple[int, int, int]) -> None:
    image, stroke = draw_stroke(colour)
    mask = decode(strokes_to_mask(encode_as(image, name)))
    assert mask.shape == SIZE
    assert np.mean(mask[stroke > 0] == 255) > 0.95
    assert np.mean(mask[cv2.dilate(stroke, np.ones((9, 9))) == 0]) == 0


def test_a_stroke_one_pixel_wide_counts_in_a_lossless_image() -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    image[50] = (0, 0, 255)
    assert np.array_equal(decode(strokes_to_mask(encode_as(image, "png"))) == 255, image[..., 2] > 0)


def test_a_noisy_jpeg_of_pure_black_and_white_has_no_strokes() -> None:
    image = np.zeros((*SIZE, 3), np.uint8)
    image[30:90, 40:101] = 255
    noisy = cv2.imencode(".jpeg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes()
    assert not decode(strokes_to_mask(noisy)).any()


def test_a_union_is_white_where_either_mask_is() -> None:
    first, second = rectangle(10, 20), rectangle(20, 40)
    assert np.array_equal(decode(union(encode_as(first, "png"), encode_as(second, "png"))), first | second)


def test_masks_of_different_sizes_have_no_union() -> None:
    with pytest.raises(ValueError, match="160x120 and 30x20"):
        union(encode_as(rectangle(0, 0), "png"), sample_mask(30, 20))


def test_a_mask_of_another_size_is_refused_with_both_sizes() -> None:
    image = encode_as(np.full((*SIZE, 3), 90, np.uint8), "png")
    with pytest.raises(ValueError, match=r"30x20.*160x120"):
        restore(image, mask=sample_mask(30, 20))


def test_a_mask_that_is_white_everywhere_is_refused() -> None:
    image = encode_as(np.full((*SIZE, 3), 90, np.uint8), "png")
    with pytest.raises(ValueError, match="white everywhere"):
        restore(image, mask=encode_as(np.full(SIZE, 255, np.uint8), "png"))


def to_colour(mask: Grey) -> Pixels:
    return cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)


def to_alpha(mask: Grey) -> Pixels:
    return np.dstack([np.full((*SIZE, 3), 255, np.uint8), mask])


@pytest.mark.parametrize("convert", [to_colour, to_alpha, to_16_bits])
def test_masks_in_colour_with_alpha_or_16_bits_are_equivalent(convert: Callable[[Grey], Pixels]) -> None:
    image = np.full((*SIZE, 3), 90, np.uint8)
    image[rectangle(40, 60) > 0] = 250
    plain = restore(encode_as(image, "png"), mask=encode_as(rectangle(40, 60), "png"))
    converted = restore(encode_as(image, "png"), mask=encode_as(convert(rectangle(40, 60)), "png"))
    assert converted == plain
    assert np.abs(decode(plain.image).astype(int) - 90).max() <= 4
