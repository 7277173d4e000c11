from __future__ import annotations

from time import perf_counter

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.pictures import blend, landscape, psnr, sample_mark, sample_photo, stamp
from aiowatermark.emulator.restoration.headers import picture_size
from aiowatermark.emulator.restoration.pixels import decode, decode_mark, encode_as
from aiowatermark.emulator.restoration.restore import Restoration, restore

MARK = sample_mark()


def near(original: bytes, picture: bytes, mask: bytes) -> float:
    """PSNR in dB under the mask only."""
    white = decode(mask) > 0
    error = decode(original)[white].astype(float) - decode(picture)[white].astype(float)
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean(error**2)))))


def resized(picture: bytes, scale: float) -> bytes:
    pixels = decode(picture)
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return encode_as(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), "png")


def painted(colour: tuple[int, int, int], other: tuple[int, int, int]) -> bytes:
    mark = decode(MARK)
    mark[:, :60, :3], mark[:, 60:, :3] = colour, other
    return encode_as(mark, "png")


def assert_untouched(picture: bytes, done: Restoration) -> None:
    assert done.image == picture
    assert not done.found
    assert decode(done.mask).shape == picture_size(picture)[:0:-1]
    assert not decode(done.mask).any()


@pytest.mark.parametrize("seed", range(4))
def test_a_known_mark_in_a_jpeg_is_undone_almost_without_a_trace(seed: int) -> None:
    original = sample_photo(seed=seed)
    marked, white = stamp(original, MARK, position=(37 + 50 * seed, 301 - 70 * seed))
    done = restore(marked, mark=MARK)
    assert done.found
    assert near(original, marked, white) < 20
    assert near(original, done.image, white) > 36
    assert psnr(original, done.image) > 44


def test_a_mark_in_a_lossless_picture_is_undone_to_rounding_errors() -> None:
    original = sample_photo(format="png")
    marked, white = stamp(original, MARK)
    assert near(original, restore(marked, mark=MARK).image, white) > 48


def test_the_mask_that_comes_back_is_where_the_mark_was() -> None:
    marked, white = stamp(sample_photo(), MARK)
    found, true = decode(restore(marked, mark=MARK).mask) > 0, decode(white) > 0
    assert found.shape == true.shape
    assert (found & true).sum() / (found | true).sum() > 0.9


@pytest.mark.parametrize("opacity", [0.1, 0.2, 0.7])
def test_the_opacity_is_found_from_the_picture(opacity: float) -> None:
    original = sample_photo(seed=3)
    marked, white = stamp(original, MARK, opacity=opacity)
    assert near(original, restore(marked, mark=MARK).image, white) > 34


def test_an_opaque_mark_is_filled_from_around() -> None:
    original = sample_photo(seed=3)
    marked, white = stamp(original, MARK, opacity=1.0)
    assert near(original, marked, white) < 8
    assert near(original, restore(marked, mark=MARK).image, white) > 24


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.3, 1.9])
def test_a_mark_is_found_at_other_sizes(scale: float) -> None:
    original = sample_photo(seed=1)
    marked, white = stamp(original, resized(MARK, scale))
    assert near(original, restore(marked, mark=MARK).image, white) > 34


def test_a_mark_larger_than_the_picture_is_looked_for_as_large_as_it_fits() -> None:
    original, large = sample_photo(320, 240), sample_mark(width=900)
    marked, white = stamp(original, large)
    assert near(original, restore(marked, mark=large).image, white) > 34


@pytest.mark.parametrize("mark", [painted((0, 0, 0), (0, 0, 0)), painted((40, 40, 220), (200, 120, 20))])
def test_dark_and_colourful_marks_are_undone(mark: bytes) -> None:
    original = sample_photo(seed=2, format="png")
    marked, white = stamp(original, mark, position=(60, 60))
    assert near(original, restore(marked, mark=mark).image, white) > 45


def test_all_tiles_of_a_repeated_mark_are_undone_even_those_cut_off() -> None:
    pixels = landscape(640, 480, 5)
    original = encode_as(pixels, "jpeg")
    white = np.zeros((480, 640), np.uint8)
    for row, y in enumerate(range(-20, 480, 110)):
        for x in range(-110 + 90 * (row % 2), 640, 270):
            white |= blend(pixels, decode_mark(MARK), 0.4, x, y)
    done = restore(encode_as(pixels, "jpeg"), mark=MARK)
    assert near(original, done.image, encode_as(white, "png")) > 35
    assert np.mean(decode(done.mask)[white > 0] > 0) > 0.98


@pytest.mark.parametrize("seed", range(6))
def test_no_mark_is_found_in_an_unmarked_picture(seed: int) -> None:
    photo = sample_photo(400, 300, seed)
    for mark in (MARK, sample_mark("other", width=120)):
        assert_untouched(photo, restore(photo, mark=mark))


def test_another_mark_is_not_taken_for_the_known_one() -> None:
    marked, _ = stamp(sample_photo(), sample_mark("PROOF ONLY"))
    assert_untouched(marked, restore(marked, mark=sample_mark("stockphotos", width=200)))


@pytest.mark.parametrize("kind", ["flat", "noise", "checks", "letters"])
def test_no_mark_is_found_in_odd_pictures(kind: str) -> None:
    sheet = np.full((300, 400), 240, np.uint8)
    if kind == "noise":
        sheet = np.random.default_rng(0).integers(0, 255, sheet.shape, np.uint8)
    if kind == "checks":
        sheet = (np.kron(np.indices((15, 20)).sum(axis=0) % 2, np.ones((20, 20))) * 200).astype(np.uint8)
    if kind == "letters":
        for row in range(8):
            cv2.putText(sheet, "water and other words", (9, 30 + 35 * row), row % 5, 0.9, (20,), 2, cv2.LINE_AA)
    picture = encode_as(sheet, "png")
    assert_untouched(picture, restore(picture, mark=MARK))


def test_with_neither_mask_nor_mark_the_bytes_come_back() -> None:
    photo = sample_photo(64, 48)
    assert_untouched(photo, restore(photo))


def test_a_black_mask_changes_nothing() -> None:
    photo = sample_photo(64, 48)
    assert_untouched(photo, restore(photo, mask=encode_as(np.zeros((48, 64), np.uint8), "png")))


@pytest.mark.parametrize("seed", range(3))
def test_what_a_mask_covers_is_filled_plausibly(seed: int) -> None:
    original = sample_photo(seed=seed)
    marked, white = stamp(original, MARK, opacity=0.9)
    done = restore(marked, mask=white)
    assert done.found
    assert near(original, done.image, white) > near(original, marked, white) + 12
    assert np.all(decode(done.mask)[decode(white) > 0] == 255)


def test_a_large_area_is_filled_in_reasonable_time() -> None:
    original = sample_photo(1600, 1200, format="png")
    white = np.zeros((1200, 1600), np.uint8)
    white[300:900, 300:1300] = 255
    began = perf_counter()
    done = restore(original, mask=encode_as(white, "png"))
    assert perf_counter() - began < 2
    assert psnr(original, done.image) > 20
    assert np.array_equal(decode(done.image)[:280], decode(original)[:280])


def test_with_both_the_mark_is_undone_under_the_mask_and_left_elsewhere() -> None:
    pixels = landscape(640, 480, 1)
    original = encode_as(pixels, "png")
    here, there = (blend(pixels, decode_mark(MARK), 0.45, *at) for at in ((40, 60), (350, 380)))
    mask = np.zeros((480, 640), np.uint8)
    mask[50:120, 30:300] = 255
    done = restore(encode_as(pixels, "png"), mask=encode_as(mask, "png"), mark=MARK)
    assert near(original, done.image, encode_as(here, "png")) > 45
    assert near(original, done.image, encode_as(there, "png")) < 25


def test_with_both_what_no_mark_accounts_for_is_filled() -> None:
    pixels = landscape(640, 480, 1)
    original = encode_as(pixels, "png")
    mask = blend(pixels, decode_mark(MARK), 0.45, 40, 60)
    scratch = np.zeros((480, 640), np.uint8)
    scratch[400:404, 100:500] = 255
    pixels[scratch > 0] = 255
    done = restore(encode_as(pixels, "png"), mask=encode_as(mask | scratch, "png"), mark=MARK)
    assert near(original, done.image, encode_as(mask, "png")) > 45
    assert near(original, done.image, encode_as(scratch, "png")) > 22


def test_with_both_and_no_such_mark_the_mask_decides() -> None:
    original = sample_photo()
    marked, white = stamp(original, MARK, opacity=0.9)
    assert restore(marked, mask=white, mark=sample_mark("other")) == restore(marked, mask=white)
