"""Images: known marks are undone, masks are inpainted, and images without a mark come back byte for byte."""

from __future__ import annotations

from time import perf_counter

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.pictures import blend, landscape, psnr, sample_mark, sample_photo, stamp
from aiowatermark.emulator.restoration.headers import image_info
from aiowatermark.emulator.restoration.pixels import decode, decode_mark, encode_as
from aiowatermark.emulator.restoration.restore import Restoration, restore
from tests.support.restored_media import image_psnr

MARK = sample_mark()


def resize(image: bytes, scale: float) -> bytes:
    pixels = decode(image)
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return encode_as(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), "png")


def mark_in_colours(left: tuple[int, int, int], right: tuple[int, int, int]) -> bytes:
    """The mark with one colour (BGR) in its first 60 columns and another in the rest."""
    mark = decode(MARK)
    mark[:, :60, :3], mark[:, 60:, :3] = left, right
    return encode_as(mark, "png")


def assert_unchanged(image: bytes, restoration: Restoration) -> None:
    assert restoration.image == image
    assert not restoration.found
    assert decode(restoration.mask).shape == image_info(image)[:0:-1]
    assert not decode(restoration.mask).any()


@pytest.mark.parametrize("seed", range(4))
def test_a_known_mark_in_a_jpeg_is_undone_almost_without_a_trace(seed: int) -> None:
    original = sample_photo(seed=seed)
    marked, mask = stamp(original, MARK, position=(37 + 50 * seed, 301 - 70 * seed))
    restoration = restore(marked, mark=MARK)
    assert restoration.found
    assert image_psnr(mask, original, marked) < 20
    assert image_psnr(mask, original, restoration.image) > 36
    assert psnr(original, restoration.image) > 44


def test_a_mark_in_a_lossless_image_is_undone_up_to_rounding_errors() -> None:
    original = sample_photo(format="png")
    marked, mask = stamp(original, MARK)
    assert image_psnr(mask, original, restore(marked, mark=MARK).image) > 48


def test_the_returned_mask_covers_the_area_of_the_mark() -> None:
    marked, mask = stamp(sample_photo(), MARK)
    found, actual = decode(restore(marked, mark=MARK).mask) > 0, decode(mask) > 0
    assert found.shape == actual.shape
    assert (found & actual).sum() / (found | actual).sum() > 0.9


@pytest.mark.parametrize("opacity", [0.1, 0.2, 0.7])
def test_the_opacity_is_measured_in_the_image(opacity: float) -> None:
    original = sample_photo(seed=3)
    marked, mask = stamp(original, MARK, opacity=opacity)
    assert image_psnr(mask, original, restore(marked, mark=MARK).image) > 34


def test_an_opaque_mark_is_inpainted() -> None:
    original = sample_photo(seed=3)
    marked, mask = stamp(original, MARK, opacity=1.0)
    assert image_psnr(mask, original, marked) < 8
    assert image_psnr(mask, original, restore(marked, mark=MARK).image) > 24


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.3, 1.9])
def test_a_mark_is_found_at_other_sizes(scale: float) -> None:
    original = sample_photo(seed=1)
    marked, mask = stamp(original, resize(MARK, scale))
    assert image_psnr(mask, original, restore(marked, mark=MARK).image) > 34


def test_a_mark_larger_than_the_image_is_searched_at_the_largest_size_that_fits() -> None:
    original, large = sample_photo(320, 240), sample_mark(width=900)
    marked, mask = stamp(original, large)
    assert image_psnr(mask, original, restore(marked, mark=large).image) > 34


@pytest.mark.parametrize(
    "mark", [mark_in_colours((0, 0, 0), (0, 0, 0)), mark_in_colours((40, 40, 220), (200, 120, 20))]
)
def test_dark_and_colourful_marks_are_undone(mark: bytes) -> None:
    original = sample_photo(seed=2, format="png")
    marked, mask = stamp(original, mark, position=(60, 60))
    assert image_psnr(mask, original, restore(marked, mark=mark).image) > 45


def test_all_tiles_of_a_repeated_mark_are_undone_even_those_cut_off() -> None:
    pixels = landscape(640, 480, 5)
    original = encode_as(pixels, "jpeg")
    white = np.zeros((480, 640), np.uint8)
    for row, y in enumerate(range(-20, 480, 110)):
        for x in range(-110 + 90 * (row % 2), 640, 270):
            white |= blend(pixels, decode_mark(MARK), 0.4, x, y)
    restoration = restore(encode_as(pixels, "jpeg"), mark=MARK)
    assert image_psnr(encode_as(white, "png"), original, restoration.image) > 35
    assert np.mean(decode(restoration.mask)[white > 0] > 0) > 0.98


@pytest.mark.parametrize("seed", range(6))
def test_no_mark_is_found_in_an_unmarked_photograph(seed: int) -> None:
    photo = sample_photo(400, 300, seed)
    for mark in (MARK, sample_mark("other", width=120)):
        assert_unchanged(photo, restore(photo, mark=mark))


def test_another_mark_is_not_mistaken_for_the_known_one() -> None:
    marked, _ = stamp(sample_photo(), sample_mark("PROOF ONLY"))
    assert_unchanged(marked, restore(marked, mark=sample_mark("stockphotos", width=200)))


@pytest.mark.parametrize("kind", ["flat", "noise", "checks", "letters"])
def test_no_mark_is_found_in_artificial_images(kind: str) -> None:
    pixels = np.full((300, 400), 240, np.uint8)
    if kind == "noise":
        pixels = np.random.default_rng(0).integers(0, 255, pixels.shape, np.uint8)
    if kind == "checks":
        pixels = (np.kron(np.indices((15, 20)).sum(axis=0) % 2, np.ones((20, 20))) * 200).astype(np.uint8)
    if kind == "letters":
        for row in range(8):
            cv2.putText(pixels, "water and other words", (9, 30 + 35 * row), row % 5, 0.9, (20,), 2, cv2.LINE_AA)
    image = encode_as(pixels, "png")
    assert_unchanged(image, restore(image, mark=MARK))


def test_without_mask_and_mark_the_image_is_returned_unchanged() -> None:
    photo = sample_photo(64, 48)
    assert_unchanged(photo, restore(photo))


def test_a_black_mask_changes_nothing() -> None:
    photo = sample_photo(64, 48)
    assert_unchanged(photo, restore(photo, mask=encode_as(np.zeros((48, 64), np.uint8), "png")))


@pytest.mark.parametrize("seed", range(3))
def test_white_areas_of_a_mask_are_inpainted_plausibly(seed: int) -> None:
    original = sample_photo(seed=seed)
    marked, mask = stamp(original, MARK, opacity=0.9)
    restoration = restore(marked, mask=mask)
    assert restoration.found
    assert image_psnr(mask, original, restoration.image) > image_psnr(mask, original, marked) + 12
    assert np.all(decode(restoration.mask)[decode(mask) > 0] == 255)


def make_large_mask() -> bytes:
    white = np.zeros((1200, 1600), np.uint8)
    white[300:900, 300:1300] = 255
    return encode_as(white, "png")


@pytest.mark.benchmark
def test_inpainting_a_large_area_takes_at_most_two_seconds() -> None:
    original, mask = sample_photo(1600, 1200, format="png"), make_large_mask()
    started = perf_counter()
    restore(original, mask=mask)
    assert perf_counter() - started < 2


def test_a_large_area_is_inpainted_and_the_rest_is_unchanged() -> None:
    original = sample_photo(1600, 1200, format="png")
    restoration = restore(original, mask=make_large_mask())
    assert psnr(original, restoration.image) > 20
    assert np.array_equal(decode(restoration.image)[:280], decode(original)[:280])


def test_with_mask_and_mark_the_mark_is_undone_under_the_mask_and_stays_elsewhere() -> None:
    pixels = landscape(640, 480, 1)
    original = encode_as(pixels, "png")
    masked, unmasked = (blend(pixels, decode_mark(MARK), 0.45, *position) for position in ((40, 60), (350, 380)))
    white = np.zeros((480, 640), np.uint8)
    white[50:120, 30:300] = 255
    restoration = restore(encode_as(pixels, "png"), mask=encode_as(white, "png"), mark=MARK)
    assert image_psnr(encode_as(masked, "png"), original, restoration.image) > 45
    assert image_psnr(encode_as(unmasked, "png"), original, restoration.image) < 25


def test_with_mask_and_mark_areas_of_the_mask_without_a_mark_are_inpainted() -> None:
    pixels = landscape(640, 480, 1)
    original = encode_as(pixels, "png")
    marked = blend(pixels, decode_mark(MARK), 0.45, 40, 60)
    scratch = np.zeros((480, 640), np.uint8)
    scratch[400:404, 100:500] = 255
    pixels[scratch > 0] = 255
    restoration = restore(encode_as(pixels, "png"), mask=encode_as(marked | scratch, "png"), mark=MARK)
    assert image_psnr(encode_as(marked, "png"), original, restoration.image) > 45
    assert image_psnr(encode_as(scratch, "png"), original, restoration.image) > 22


def test_with_a_mask_and_an_absent_mark_the_mask_decides() -> None:
    original = sample_photo()
    marked, mask = stamp(original, MARK, opacity=0.9)
    assert restore(marked, mask=mask, mark=sample_mark("other")) == restore(marked, mask=mask)
