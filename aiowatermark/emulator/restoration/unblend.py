"""Undoes the blending of a known mark, computing the original pixels instead of guessing them.

A mark with opacity a (0..1) and colour c over an original pixel o was stored as

    seen = (1 - g*a) * o + g*a*c            g: gain, the opacity with which this copy of the mark was blended in
    o    = (seen - g*a*c) / (1 - g*a)       what is computed here, for every pixel and channel

Three effects make more of it than this line:

    chroma          JPEG and lossy WebP store colour averaged over blocks of pixels, and the mark was blended in
                    before. Where the original colour is even within a block, the averages obey the same equation with
                    averaged coefficients: with S = "as stored at the chroma's resolution",
                    chroma = (seen - S(g*a*c)) / (1 - S(g*a)), in YCrCb, on the block grid of the whole image.
                    Brightness is stored at full resolution and uses the plain formula.
    amplification   Dividing by 1 - g*a amplifies what compression changed by the same factor. The result is smoothed
                    under the mark with a bilateral filter, which keeps edges; its colour range grows with the factor.
                    Lossless images are not smoothed.
    lost pixels     Above 90 % opacity less than a tenth of the original's range is left, and a result more than 16
                    levels outside 0..255 proves that the assumed colour or opacity is wrong there. Both are returned
                    as a mask, for inpainting.

Invariants: the divisor is at least 0.01; only colour channels change, an alpha channel of the image stays; 8 and 16
bits are computed on the same scale, 0..255, and rounded once, at the end.
"""

from __future__ import annotations

import cv2
import numpy as np

from .detect import Detection
from .edge_evidence import overlap
from .pixels import Grey, Mark, Pixels, Reals

# opacity above which a pixel cannot be computed
_OPAQUE = 0.9
# levels by which a result may miss 0..255: the ringing of JPEG reaches that far
_RANGE_TOLERANCE = 16.0
# pixels around the mark, so that whole chroma blocks and the smoothing's surroundings are included
_MARGIN = 4


def unblend(pixels: Pixels, detection: Detection, subsampling: tuple[int, int] | None) -> Grey:
    """Undo one detection in place; return the mask (height and width of the image) of what could not be undone.

    `subsampling` is how many times coarser chroma was stored, across and down; None for a lossless format.
    """
    padded = detection.mark.pad(_MARGIN)
    blended = Mark(padded.colour, padded.alpha * np.float32(detection.gain))
    x, y = detection.x - _MARGIN, detection.y - _MARGIN
    patch, part = overlap(pixels, blended, x, y)
    scale = 257.0 if pixels.dtype == np.uint16 else 1.0
    colours = patch if patch.ndim == 2 else patch[..., :3]
    marked = colours.astype(np.float32) / np.float32(scale)
    restored = unblend_area(marked, part, subsampling, (max(x, 0), max(y, 0)))
    colours[...] = np.round(np.clip(restored, 0, 255) * scale).astype(pixels.dtype)
    lost = np.zeros(pixels.shape[:2], np.uint8)
    overlap(lost, blended, x, y)[0][...] = _unrecoverable(restored, part.alpha)
    return lost


def unblend_area(marked: Reals, mark: Mark, subsampling: tuple[int, int] | None, at: tuple[int, int]) -> Reals:
    """Return the patch (0..255; grey or BGR) without the mark; `at` is x and y of its corner in the image."""
    if marked.ndim == 2:
        grey = Mark(cv2.cvtColor(mark.colour / 255, cv2.COLOR_BGR2GRAY)[..., None] * 255, mark.alpha)
        restored = _solve(marked[..., None], grey.colour * mark.alpha[..., None], mark.alpha)[..., 0]
    elif subsampling in (None, (1, 1)):
        restored = _solve(marked, mark.colour * mark.alpha[..., None], mark.alpha)
    else:
        restored = _solve_subsampled(marked, mark, subsampling or (1, 1), at)
    return restored if subsampling is None else _smooth(restored, mark.alpha)


def subsample(values: Reals, subsampling: tuple[int, int], at: tuple[int, int]) -> Reals:
    """Return the values as a JPEG decoder gives them back after they were stored at the chroma's resolution.

    `values` is (height, width, channels), `at` as for `unblend_area`.
    """
    (across, down), (height, width) = subsampling, values.shape[:2]
    # the blocks start at the image's corner, not at the patch's: pad the patch to whole blocks of the image
    left, top = at[0] % across, at[1] % down
    right, bottom = -(left + width) % across, -(top + height) % down
    aligned = cv2.copyMakeBorder(values, top, bottom, left, right, cv2.BORDER_REPLICATE)
    size = aligned.shape[1], aligned.shape[0]
    stored = cv2.resize(aligned, (size[0] // across, size[1] // down), interpolation=cv2.INTER_AREA)
    return cv2.resize(stored, size, interpolation=cv2.INTER_LINEAR)[top : top + height, left : left + width]


def _solve(marked: Reals, premultiplied: Reals, alpha: Reals) -> Reals:
    """Return (marked - alpha * colour) / (1 - alpha), where `premultiplied` is alpha * colour."""
    original: Reals = (marked - premultiplied) / np.maximum(1 - alpha, 1 - 0.99)[..., None]
    return original


def _solve_subsampled(marked: Reals, mark: Mark, subsampling: tuple[int, int], at: tuple[int, int]) -> Reals:
    seen, colour = (cv2.cvtColor(bgr / 255, cv2.COLOR_BGR2YCrCb) * 255 for bgr in (marked, mark.colour))
    premultiplied = colour * mark.alpha[..., None]
    coarse = subsample(np.dstack([premultiplied[..., 1:], mark.alpha]), subsampling, at)
    luma = _solve(seen[..., :1], premultiplied[..., :1], mark.alpha)
    chroma = _solve(seen[..., 1:], coarse[..., :2], coarse[..., 2])
    return cv2.cvtColor(np.dstack([luma, chroma]) / 255, cv2.COLOR_YCrCb2BGR) * 255


def _smooth(restored: Reals, alpha: Reals) -> Reals:
    """Smooth the compression noise that the division amplified, under the mark only; edges stay."""
    amplification = 1 / (1 - min(float(alpha.max()), _OPAQUE))
    smooth = cv2.bilateralFilter(np.clip(restored, 0, 255), 5, 11 * amplification, 1.2)
    # a soft weight: a hard border between smoothed and untouched pixels would be visible
    weight = cv2.GaussianBlur((alpha > 0.02).astype(np.float32), (0, 0), 0.7)
    mixed: Reals = restored + (smooth - restored) * (weight if restored.ndim == 2 else weight[..., None])
    return mixed


def _unrecoverable(restored: Reals, alpha: Reals) -> Grey:
    """Return white where the mark is too opaque, or where the result is impossible, and black elsewhere."""
    outside = (restored < -_RANGE_TOLERANCE) | (restored > 255 + _RANGE_TOLERANCE)
    impossible = outside if outside.ndim == 2 else outside.any(axis=2)
    # outside the mark nothing was changed, whatever the smoothing did there
    return np.where((alpha > _OPAQUE) | (impossible & (alpha > 0.02)), 255, 0).astype(np.uint8)
