"""What a place says for a mark being there: its gain, by least squares, and how much its edges fade without it."""

from __future__ import annotations

import cv2
import numpy as np
from attrs import frozen

from .pixels import Grey, Mark, Pixels, Reals
from .similarity import LUMA

_REACH = 2
_ENOUGH = 20_000
_OUTLIER = 20.0
_OPAQUE = 0.97


@frozen
class Edges:
    """Pairs of pixels on either side of the mark's edges: luma, alpha and the mark's luma, each (2, pairs)."""

    luma: Reals
    alpha: Reals
    colour: Reals

    def gain(self) -> float:
        """How many times the file's alpha was blended in: what leaves no trace of the mark's edges when undone.

        The trace falls with the gain, so the gain is found by halving.
        """
        low, high = 0.0, _OPAQUE / float(self.alpha.max())
        for _ in range(14):
            middle = (low + high) / 2
            low, high = (middle, high) if self._trace(middle) > 0 else (low, middle)
        return (low + high) / 2

    def edge_reduction(self, gain: float) -> float:
        """The share of the contrast at the mark's edges that goes away when the mark is undone: 1 all, 0 none."""
        before = float(np.abs(self._steps(0.0)[0]).sum())
        return 1 - float(np.abs(self._steps(gain)[0]).sum()) / before if before else 0.0

    def _trace(self, gain: float) -> float:
        left, expected = self._steps(gain)
        return float((np.clip(left, -_OUTLIER, _OUTLIER) * expected).sum())

    def _steps(self, gain: float) -> tuple[Reals, Reals]:
        """The picture's own steps across the edges at this gain, in marked levels, and those a gain of 1 would add."""
        restored = (self.luma - gain * self.alpha * self.colour) / (1 - gain * self.alpha)
        own = (restored[1] - restored[0]) * (1 - gain * self.alpha.mean(axis=0))
        added = (self.alpha[1] - self.alpha[0]) * (self.colour - restored).mean(axis=0)
        return own, added


def edges(luma: Grey | Reals, mark: Mark, x: int, y: int) -> Edges | None:
    """The mark's edges with its upper left corner at (x, y) of the picture; None when too little lies inside."""
    padded = mark.pad(_REACH)
    patch, part = overlap(luma, padded, x - _REACH, y - _REACH)
    if min(patch.shape) <= _REACH or part.alpha.max() < 0.01:
        return None
    stack = np.stack([patch.astype(np.float32), part.alpha, part.colour @ LUMA])
    sides = [_sides(stack, axis) for axis in (1, 2)]
    pairs = np.concatenate([side[:, :, _steep(side, padded.alpha)] for side in sides], axis=2)
    pairs = pairs[:, :, :: max(1, pairs.shape[2] // _ENOUGH)]
    return Edges(*pairs) if pairs.shape[2] >= 16 else None


def overlap(pixels: Pixels, mark: Mark, x: int, y: int) -> tuple[Pixels, Mark]:
    """What the picture (a view) and the mark share with the mark's upper left corner at (x, y)."""
    rows, columns = shared(pixels.shape[0], mark.size[1], y), shared(pixels.shape[1], mark.size[0], x)
    part = mark.cut(slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))
    return pixels[rows, columns], part


def shared(whole: int, part: int, start: int) -> slice:
    """The stretch of a line of length `whole` that a part put down at `start` covers."""
    return slice(min(max(0, start), whole), max(0, min(whole, start + part)))


def luma_of(pixels: Pixels) -> Grey:
    """The brightness of a picture, 8 bits, (height, width)."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)
    return (grey // 257).astype(np.uint8) if grey.dtype == np.uint16 else grey


def _sides(stack: Reals, axis: int) -> Reals:
    """(3, 2, pairs): each value and the one `_REACH` pixels on."""
    length = stack.shape[axis]
    here = np.take(stack, np.arange(length - _REACH), axis=axis).reshape(3, -1)
    there = np.take(stack, np.arange(_REACH, length), axis=axis).reshape(3, -1)
    return np.stack([here, there], axis=1)


def _steep(sides: Reals, alpha: Reals) -> Pixels:
    steep: Pixels = np.abs(sides[1, 1] - sides[1, 0]) > 0.25 * float(alpha.max())
    return steep
