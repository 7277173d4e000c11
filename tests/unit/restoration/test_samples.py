"""Sample images of the emulator: reproducible, of the requested size, and measurable against each other."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from aiowatermark.emulator.pictures import psnr, sample_mark, sample_mask, sample_photo, side_by_side, stamp
from aiowatermark.emulator.restoration.headers import image_info
from aiowatermark.emulator.restoration.pixels import decode, encode_as


def test_a_photo_depends_on_its_seed_only() -> None:
    assert sample_photo(160, 120, 7) == sample_photo(160, 120, 7)
    assert psnr(sample_photo(160, 120, 7), sample_photo(160, 120, 8)) < 25


def test_a_photo_has_the_requested_size_and_is_not_flat() -> None:
    photo = sample_photo(321, 123)
    assert image_info(photo) == ("jpeg", 321, 123)
    assert decode(photo).std() > 20


def test_a_mark_has_the_requested_width_and_an_alpha_channel() -> None:
    mark = decode(sample_mark("hello", width=150))
    assert mark.shape[1:] == (150, 4)
    assert mark[..., 3].max() == 255
    assert mark[..., 3].min() == 0


@pytest.mark.parametrize("size", [(640, 480), (100, 400), (20, 20)])
def test_a_mask_is_black_and_white_and_mostly_black(size: tuple[int, int]) -> None:
    mask = decode(sample_mask(*size))
    assert mask.shape == size[::-1]
    assert set(np.unique(mask)) == {0, 255}
    assert 0.005 < np.mean(mask > 0) < 0.3


def test_a_stamp_changes_the_image_only_under_the_mark() -> None:
    photo = sample_photo(format="png")
    marked, mask = stamp(photo, sample_mark(), position=(20, 30))
    changed = np.any(decode(photo) != decode(marked), axis=2)
    assert not changed[decode(mask) == 0].any()
    assert changed[decode(mask) > 0].mean() > 0.8
    assert np.argwhere(decode(mask)).min(axis=0).tolist() == pytest.approx([30, 20], abs=4)


def test_a_lower_opacity_stays_closer_to_the_original() -> None:
    photo, mark = sample_photo(), sample_mark()
    assert psnr(photo, stamp(photo, mark, opacity=0.1)[0]) > psnr(photo, stamp(photo, mark, opacity=0.6)[0]) + 10


def test_a_mark_larger_than_the_image_is_scaled_down() -> None:
    _, mask = stamp(sample_photo(100, 80), sample_mark(width=500))
    assert decode(mask).shape == (80, 100)
    assert np.ptp(np.argwhere(decode(mask))[:, 1]) == pytest.approx(97, abs=4)


def test_psnr_is_infinite_for_equal_images_and_correct_for_a_known_error() -> None:
    black, grey = (np.full((10, 10, 3), level, np.uint8) for level in (0, 16))
    first, second = (encode_as(pixels, "png") for pixels in (black, grey))
    assert psnr(first, first) == inf
    assert psnr(first, second) == pytest.approx(24.05, abs=0.01)


def test_psnr_of_different_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="equal sizes"):
        psnr(sample_photo(20, 20), sample_photo(20, 30))


def test_before_and_after_are_side_by_side_under_their_captions() -> None:
    before, after = sample_photo(200, 100, 1), sample_photo(200, 100, 2)
    both = decode(side_by_side(before, after))
    assert both.shape[1] > 400
    assert np.array_equal(both[-100:, :200], decode(before))
    assert np.array_equal(both[-100:, -200:], decode(after))
    caption = both[:-100, :200]
    assert caption.min() < 100
    assert caption.max() == 255


def test_images_of_different_heights_are_not_placed_side_by_side() -> None:
    with pytest.raises(ValueError, match="height"):
        side_by_side(sample_photo(20, 20), sample_photo(20, 30))
