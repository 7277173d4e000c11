"""Fills holes in an image from their surroundings, with Telea's method (`cv2.inpaint`).

Telea's method visits the pixels of a hole from its border inwards; each becomes a weighted mean of the known pixels
within a radius of 4. Its cost grows with the hole's area, while what it can know does not: the middle of a large hole
is a smooth guess at any resolution. Therefore:

    areas      Only boxes around groups of white areas, with a margin, are passed to OpenCV, not the whole image.
               The boxes are found on a grid of 32 pixels, so that the letters of one text share a box.
    shrinking  When the whole mask has more than 150,000 white pixels, each box is inpainted on a copy that is smaller
               by the square root of the excess, and only the hole is taken from the enlarged result. A hole of
               640,000 pixels takes 0.3 s instead of 1.0 s on one core.

Invariants: pixels outside the mask never change; shape and dtype stay. Boxes may overlap; they are filled one after
the other, each on the result of those before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from .pixels import Grey, Pixels

# pixels; the grid on which areas are grouped
_CELL = 32
# pixels; how far Telea's method looks for known pixels
_RADIUS = 4
# white pixels above which holes are filled on a smaller copy
_MAX_PIXELS = 150_000


def dilate(mask: Grey, pixels: int = 1) -> Grey:
    """Return the mask with its white areas grown by some pixels: antialiasing and compression spread a mark's edge."""
    size = 2 * pixels + 1
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))


def inpaint(pixels: Pixels, mask: Grey) -> None:
    """Fill the white areas of the mask in place, from their surroundings; 1, 3 or 4 channels, 8 or 16 bits.

    Raises ValueError when the mask is white everywhere.
    """
    if cv2.countNonZero(mask) == mask.size:
        raise ValueError("The mask is white everywhere: nothing is left to restore the image from.")
    excess = max(1.0, cv2.countNonZero(mask) / _MAX_PIXELS)
    for rows, columns in _areas(mask):
        filled = _inpaint_area(pixels[rows, columns], mask[rows, columns], excess**0.5)
        pixels[rows, columns] = filled


def _areas(mask: Grey) -> Iterator[tuple[slice, slice]]:
    """Yield boxes around groups of white areas, with a margin of one cell."""
    height, width = mask.shape
    # dilated first, because each cell is sampled at one position only and shall see the white around it
    cells = cv2.resize(
        cv2.dilate(mask, np.ones((_CELL, _CELL), np.uint8)),
        (-(-width // _CELL), -(-height // _CELL)),
        interpolation=cv2.INTER_NEAREST,
    )
    grown = cv2.dilate(cells, np.ones((3, 3), np.uint8))
    _, _, boxes, _ = cv2.connectedComponentsWithStats(grown)
    # the first component is the background
    for left, top, box_width, box_height, _ in boxes[1:] * _CELL:
        yield slice(top, min(top + box_height, height)), slice(left, min(left + box_width, width))


def _inpaint_area(pixels: Pixels, mask: Grey, shrink: float) -> Pixels:
    # a little shrinking saves less than the two resizes cost
    if shrink <= 1.2:
        return _run_inpainting(pixels, mask)
    height, width = mask.shape
    small_size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    # any white at all makes a small pixel white: a mixed one would carry the mark into the fill
    hole = np.where(cv2.resize(mask, small_size, interpolation=cv2.INTER_AREA) > 0, 255, 0).astype(np.uint8)
    # at the small size nothing may be left around a tight hole
    if hole.all():
        return _run_inpainting(pixels, mask)
    small = _run_inpainting(cv2.resize(pixels, small_size, interpolation=cv2.INTER_AREA), hole)
    filled = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(pixels.shape)
    inside = mask.astype(bool)
    return np.where(inside if pixels.ndim == 2 else inside[..., None], filled, pixels)


def _run_inpainting(pixels: Pixels, mask: Grey) -> Pixels:
    """Inpaint any supported image: OpenCV takes one channel of 8 or 16 bits, or three of 8."""
    if pixels.ndim == 2 or (pixels.shape[2] == 3 and pixels.dtype == np.uint8):
        return cv2.inpaint(pixels, mask, _RADIUS, cv2.INPAINT_TELEA)
    if pixels.shape[2] == 4 and pixels.dtype == np.uint8:
        colours = _run_inpainting(np.ascontiguousarray(pixels[..., :3]), mask)
        return np.dstack([colours, _run_inpainting(np.ascontiguousarray(pixels[..., 3]), mask)])
    return np.dstack([_run_inpainting(np.ascontiguousarray(channel), mask) for channel in np.moveaxis(pixels, 2, 0)])
