"""A blended mark undone: original = (marked - a * mark) / (1 - a), with chroma treated as coarsely as it was stored."""

from __future__ import annotations

import cv2
import numpy as np

from .detect import Detection
from .edge_evidence import overlap
from .pixels import Grey, Mark, Pixels, Reals

_OPAQUE = 0.9
_BEYOND = 16.0
_MARGIN = 4


def unblend(pixels: Pixels, hit: Detection, sampling: tuple[int, int] | None) -> Grey:
    """Undoes one hit in place; gives the mask (height and width of the picture) of what could not be undone.

    `sampling` is how many times coarser chroma was stored, across and down; None when nothing was compressed away.
    """
    padded = hit.mark.pad(_MARGIN)
    strong = Mark(padded.colour, padded.alpha * np.float32(hit.gain))
    x, y = hit.x - _MARGIN, hit.y - _MARGIN
    patch, part = overlap(pixels, strong, x, y)
    deep = 257.0 if pixels.dtype == np.uint16 else 1.0
    colours = patch if patch.ndim == 2 else patch[..., :3]
    marked = colours.astype(np.float32) / np.float32(deep)
    restored = unblend_area(marked, part, sampling, (max(x, 0), max(y, 0)))
    colours[...] = np.round(np.clip(restored, 0, 255) * deep).astype(pixels.dtype)
    lost = np.zeros(pixels.shape[:2], np.uint8)
    overlap(lost, strong, x, y)[0][...] = _unrecoverable(restored, part.alpha)
    return lost


def unblend_area(marked: Reals, mark: Mark, sampling: tuple[int, int] | None, at: tuple[int, int]) -> Reals:
    """The patch (0..255; grey or BGR) without the mark; `at` is the patch's upper left corner in the picture."""
    if marked.ndim == 2:
        grey = Mark(cv2.cvtColor(mark.colour / 255, cv2.COLOR_BGR2GRAY)[..., None] * 255, mark.alpha)
        restored = _divide(marked[..., None], grey.colour * mark.alpha[..., None], mark.alpha)[..., 0]
    elif sampling in (None, (1, 1)):
        restored = _divide(marked, mark.colour * mark.alpha[..., None], mark.alpha)
    else:
        restored = _divide_subsampled(marked, mark, sampling or (1, 1), at)
    return restored if sampling is None else _smooth(restored, mark.alpha)


def subsample(values: Reals, sampling: tuple[int, int], at: tuple[int, int]) -> Reals:
    """Values as they come back from being stored at the chroma's resolution, on the picture's grid."""
    (across, down), (height, width) = sampling, values.shape[:2]
    left, top = at[0] % across, at[1] % down
    right, bottom = -(left + width) % across, -(top + height) % down
    whole = cv2.copyMakeBorder(values, top, bottom, left, right, cv2.BORDER_REPLICATE)
    size = whole.shape[1], whole.shape[0]
    stored = cv2.resize(whole, (size[0] // across, size[1] // down), interpolation=cv2.INTER_AREA)
    return cv2.resize(stored, size, interpolation=cv2.INTER_LINEAR)[top : top + height, left : left + width]


def _divide(marked: Reals, blended: Reals, alpha: Reals) -> Reals:
    own: Reals = (marked - blended) / np.maximum(1 - alpha, 1 - 0.99)[..., None]
    return own


def _divide_subsampled(marked: Reals, mark: Mark, sampling: tuple[int, int], at: tuple[int, int]) -> Reals:
    seen, logo = (cv2.cvtColor(colours / 255, cv2.COLOR_BGR2YCrCb) * 255 for colours in (marked, mark.colour))
    blended = logo * mark.alpha[..., None]
    coarse = subsample(np.dstack([blended[..., 1:], mark.alpha]), sampling, at)
    fine = _divide(seen[..., :1], blended[..., :1], mark.alpha)
    chroma = _divide(seen[..., 1:], coarse[..., :2], coarse[..., 2])
    return cv2.cvtColor(np.dstack([fine, chroma]) / 255, cv2.COLOR_YCrCb2BGR) * 255


def _smooth(restored: Reals, alpha: Reals) -> Reals:
    """Undoing amplifies what compression left: smoothed where the mark was, edges kept."""
    louder = 1 / (1 - min(float(alpha.max()), _OPAQUE))
    smooth = cv2.bilateralFilter(np.clip(restored, 0, 255), 5, 11 * louder, 1.2)
    weight = cv2.GaussianBlur((alpha > 0.02).astype(np.float32), (0, 0), 0.7)
    calm: Reals = restored + (smooth - restored) * (weight if restored.ndim == 2 else weight[..., None])
    return calm


def _unrecoverable(restored: Reals, alpha: Reals) -> Grey:
    """White where too little of the picture came through, or where the result cannot be: the mark was not like that."""
    beyond = (restored < -_BEYOND) | (restored > 255 + _BEYOND)
    wrong = beyond if beyond.ndim == 2 else beyond.any(axis=2)
    return np.where((alpha > _OPAQUE) | (wrong & (alpha > 0.02)), 255, 0).astype(np.uint8)
