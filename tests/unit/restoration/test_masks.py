from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.pictures import sample_mask
from aiowatermark.emulator.restoration.pixels import Grey, decode, encode_as
from aiowatermark.emulator.restoration.restore import restore, strokes_to_mask, union

SIZE = (120, 160)


def spot(row: int, column: int) -> Grey:
    mask = np.zeros(SIZE, np.uint8)
    mask[row : row + 20, column : column + 30] = 255
    return mask


def smear(colour: tuple[int, int, int]) -> tuple[Grey, Grey]:
    """Half black, half white, with a brush stroke over both; and where the stroke is."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:, 80:] = 255
    stroke = spot(60, 65)
    picture[stroke > 0] = colour
    return picture, stroke


@pytest.mark.parametrize("colour", [(0, 0, 255), (255, 0, 0), (128, 128, 128), (40, 200, 90), (0, 255, 255)])
@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_a_stroke_of_any_colour_becomes_the_white_of_the_mask(name: str, colour: tuple[int, int, int]) -> None:
    picture, stroke = smear(colour)
    mask = decode(strokes_to_mask(encode_as(picture, name)))
    assert mask.shape == SIZE
    assert np.mean(mask[stroke > 0] == 255) > 0.95
    assert np.mean(mask[cv2.dilate(stroke, np.ones((9, 9))) == 0]) == 0


def test_a_stroke_one_pixel_wide_counts_where_nothing_is_blurred() -> None:
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[50] = (0, 0, 255)
    assert np.array_equal(decode(strokes_to_mask(encode_as(picture, "png"))) == 255, picture[..., 2] > 0)


def test_rough_jpeg_of_pure_black_and_white_smears_nothing() -> None:
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[30:90, 40:101] = 255
    noisy = cv2.imencode(".jpeg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes()
    assert not decode(strokes_to_mask(noisy)).any()


def test_a_union_is_white_where_either_mask_is() -> None:
    first, second = spot(10, 20), spot(20, 40)
    assert np.array_equal(decode(union(encode_as(first, "png"), encode_as(second, "png"))), first | second)


def test_masks_of_different_sizes_have_no_union() -> None:
    with pytest.raises(ValueError, match="160x120 and 30x20"):
        union(encode_as(spot(0, 0), "png"), sample_mask(30, 20))


def test_a_mask_of_another_size_is_refused_with_both_sizes() -> None:
    picture = encode_as(np.full((*SIZE, 3), 90, np.uint8), "png")
    with pytest.raises(ValueError, match=r"30x20.*160x120"):
        restore(picture, mask=sample_mask(30, 20))


def test_a_mask_white_everywhere_leaves_nothing_to_restore_from() -> None:
    picture = encode_as(np.full((*SIZE, 3), 90, np.uint8), "png")
    with pytest.raises(ValueError, match="white everywhere"):
        restore(picture, mask=encode_as(np.full(SIZE, 255, np.uint8), "png"))


def as_colour(mask: Grey) -> Grey:
    return cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)


def as_alpha(mask: Grey) -> Grey:
    return np.dstack([np.full((*SIZE, 3), 255, np.uint8), mask])


def as_deep(mask: Grey) -> Grey:
    return mask.astype(np.uint16) * 257


@pytest.mark.parametrize("way", [as_colour, as_alpha, as_deep])
def test_masks_in_colour_with_alpha_or_16_bits_mean_the_same(way: Callable[[Grey], Grey]) -> None:
    picture = np.full((*SIZE, 3), 90, np.uint8)
    picture[spot(40, 60) > 0] = 250
    plain = restore(encode_as(picture, "png"), mask=encode_as(spot(40, 60), "png"))
    other = restore(encode_as(picture, "png"), mask=encode_as(way(spot(40, 60)), "png"))
    assert other == plain
    assert np.abs(decode(plain.image).astype(int) - 90).max() <= 4
