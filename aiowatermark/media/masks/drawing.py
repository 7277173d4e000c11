"""Draws boxes as a mask in black and white."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image

from .black_and_white import check_pixels
from .boxes import Box


@lru_cache(maxsize=8)
def draw_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> bytes:
    """Return a PNG of this width and height, white inside the boxes and black elsewhere. Blocks.

    Raises InvalidInput for more pixels than any provider accepts. The same boxes often belong to all images of a batch.
    """
    check_pixels(*size)
    mask = Image.new("L", size, 0)
    for x, y, width, height in boxes:
        mask.paste(255, (x, y, x + width, y + height))
    out = io.BytesIO()
    mask.save(out, "PNG")
    return out.getvalue()
