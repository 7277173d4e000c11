"""Holes in a picture filled from what surrounds them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from .pixels import Grey, Pixels

_CELL = 32
_RADIUS = 4
# more hole than this is filled on a smaller copy: Telea's cost grows with the area, what it can know does not
_MAX_PIXELS = 150_000


def dilate(mask: Grey, pixels: int = 1) -> Grey:
    """The mask with its white areas grown by some pixels: what is smooth or compressed bleeds over its edge."""
    size = 2 * pixels + 1
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))


def inpaint(pixels: Pixels, mask: Grey) -> None:
    """Fills the white areas of the mask in place, from their surroundings; any channels, 8 or 16 bits.

    Raises ValueError when the mask is white everywhere.
    """
    if cv2.countNonZero(mask) == mask.size:
        raise ValueError("The mask is white everywhere: nothing is left to restore the picture from.")
    affordable = max(1.0, cv2.countNonZero(mask) / _MAX_PIXELS)
    for rows, columns in _areas(mask):
        filled = _inpaint_area(pixels[rows, columns], mask[rows, columns], affordable**0.5)
        pixels[rows, columns] = filled


def _areas(mask: Grey) -> Iterator[tuple[slice, slice]]:
    """Boxes around groups of white areas, with a margin: far fewer pixels than the picture, as a rule."""
    height, width = mask.shape
    cells = cv2.resize(
        cv2.dilate(mask, np.ones((_CELL, _CELL), np.uint8)),
        (-(-width // _CELL), -(-height // _CELL)),
        interpolation=cv2.INTER_NEAREST,
    )
    grown = cv2.dilate(cells, np.ones((3, 3), np.uint8))
    _, _, boxes, _ = cv2.connectedComponentsWithStats(grown)
    for left, top, wide, high, _ in boxes[1:] * _CELL:
        yield slice(top, min(top + high, height)), slice(left, min(left + wide, width))


def _inpaint_area(pixels: Pixels, mask: Grey, shrink: float) -> Pixels:
    if shrink <= 1.2:
        return _run_inpainting(pixels, mask)
    height, width = mask.shape
    small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    hole = np.where(cv2.resize(mask, small, interpolation=cv2.INTER_AREA) > 0, 255, 0).astype(np.uint8)
    if hole.all():
        return _run_inpainting(pixels, mask)
    rough = _run_inpainting(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), hole)
    smooth = cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR).reshape(pixels.shape)
    chosen = mask.astype(bool)
    return np.where(chosen if pixels.ndim == 2 else chosen[..., None], smooth, pixels)


def _run_inpainting(pixels: Pixels, mask: Grey) -> Pixels:
    if pixels.ndim == 2 or (pixels.shape[2] == 3 and pixels.dtype == np.uint8):
        return cv2.inpaint(pixels, mask, _RADIUS, cv2.INPAINT_TELEA)
    if pixels.shape[2] == 4 and pixels.dtype == np.uint8:
        colours = _run_inpainting(np.ascontiguousarray(pixels[..., :3]), mask)
        return np.dstack([colours, _run_inpainting(np.ascontiguousarray(pixels[..., 3]), mask)])
    # 16 bits are done a channel at a time: more OpenCV does not do
    return np.dstack([_run_inpainting(np.ascontiguousarray(channel), mask) for channel in np.moveaxis(pixels, 2, 0)])
