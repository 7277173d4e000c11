"""Boxes: whole pixels inside the image; drawn, they are white where the boxes are, to the pixel."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

import aiowatermark as aw
from aiowatermark.media.masks.black_and_white import convert_mask
from aiowatermark.media.masks.drawing import draw_boxes
from tests.support.media_sources import read_media


@pytest.mark.parametrize(
    "boxes",
    [
        *(None, 7, [], [7], [None], ["abcd"], [(1, 2, 3)], [(1, 2, 3, 4, 5)], [{"x": 1}]),
        *([(1, 2, 3, 4.0)], [(1, 2, 3, True)], [("1", 2, 3, 4)], [(-1, 2, 3, 4)], [(1, -2, 3, 4)]),
        *([(1, 2, 0, 4)], [(1, 2, 3, 0)], [(1, 2, 3, -4)], [(1, 2, 3, 10**9)], [(0, 0, 1, 1)] * 1001),
    ],
)
def test_boxes_are_whole_pixels_at_least_one_and_at_most_1000(boxes: Any) -> None:
    with pytest.raises(aw.InvalidInput, match=r"Boxes takes|a box is|a box begins"):
        aw.Boxes(boxes)


def test_boxes_may_be_any_iterable_of_any_sequences() -> None:
    assert aw.Boxes([1, 2, 3, 4] for _ in range(2)).boxes == ((1, 2, 3, 4), (1, 2, 3, 4))


async def test_the_content_of_boxes_is_their_json() -> None:
    boxes = aw.Boxes([(1, 2, 3, 4)])
    data = await read_media(boxes)
    assert json.loads(data) == [{"x": 1, "y": 2, "width": 3, "height": 4}]
    assert len(data) == boxes.size
    await boxes.hash_content()
    other = aw.Boxes([(1, 2, 3, 5)])
    await other.hash_content()
    assert boxes.digest != other.digest


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (31, 23, 1, 1), (0, 0, 32, 23), (5, 4, 20, 12)])
def test_a_box_inside_the_image_is_accepted(box: tuple[int, int, int, int]) -> None:
    aw.Boxes([box]).check_inside("a.png", (32, 24))


@pytest.mark.parametrize("box", [(32, 0, 1, 1), (0, 24, 1, 1), (31, 0, 2, 1), (0, 23, 1, 2)])
def test_a_box_that_is_not_inside_the_image_is_refused_with_the_size(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(aw.InvalidInput, match=r"is not inside a.png, which has 32x24 pixels"):
        aw.Boxes([(0, 0, 1, 1), box]).check_inside("a.png", (32, 24))


def test_a_box_of_the_whole_image_is_refused() -> None:
    with pytest.raises(aw.InvalidInput, match="nothing of it would be kept"):
        aw.Boxes([(0, 0, 32, 24)]).check_inside("a.png", (32, 24))


def test_drawn_boxes_are_white_in_the_boxes_and_black_elsewhere_to_the_pixel() -> None:
    boxes = ((2, 3, 4, 5), (5, 6, 1, 10), (31, 23, 1, 1))
    drawn = draw_boxes(boxes, (32, 24))
    with Image.open(io.BytesIO(drawn)) as mask:
        assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (32, 24))
        for x in range(32):
            for y in range(24):
                inside = any(left <= x < left + w and top <= y < top + h for left, top, w, h in boxes)
                assert mask.getpixel((x, y)) == (255 if inside else 0)
    assert convert_mask(drawn) is drawn


def test_more_pixels_than_any_provider_accepts_are_not_drawn() -> None:
    with pytest.raises(aw.InvalidInput, match="more than 40 million"):
        draw_boxes(((0, 0, 1, 1),), (10_000, 4_001))
