"""Measures whether a mark really is at a position: its gain, and how much its edges fade when it is undone.

Similarity finds candidates; this is the proof. A mark draws edges into the image at known places. If it is there, some
gain g makes these edges vanish when the blend is undone; in an unmarked image undoing a mark adds edges instead.

Evidence is taken from pairs of pixels, two pixels apart in x or y, between which alpha changes by more than a quarter
of the mark's maximum. With brightness s, alpha a and the mark's brightness c at both ends, and o(g) = (s - g*a*c) /
(1 - g*a) the pixel with the mark undone:

    own(g)    = (o2 - o1) * (1 - g*mean(a))     the step that is left, in levels of the marked image
    added(g)  = (a2 - a1) * mean(c - o)         the step that a further unit of gain would have drawn

    gain            the g at which sum of clip(own, -20, 20) * added is 0: the residual is uncorrelated with the mark.
                    This is least squares with Huber's clipping, so that the image's own strong edges do not pull at
                    the result. The sum falls with g, so 14 bisections of 0 .. 0.97/max(a) find it.
    edge reduction  1 - sum |own(gain)| / sum |own(0)|: 1 when all contrast at the mark's edges disappears, 0 when none
                    does, negative when undoing adds edges

Invariants: 1 - g*a is at least 0.03, so nothing divides by zero. At least 16 pairs are needed, otherwise there is no
evidence (None); from 40,000 pairs on they are thinned to 20,000 or more, which is plenty and bounds the cost.
"""

from __future__ import annotations

import cv2
import numpy as np
from attrs import frozen

from .pixels import Grey, Mark, Pixels, Reals
from .similarity import LUMA_WEIGHTS

# pixels between the two ends of a pair: antialiased edges are about that wide
_DISTANCE = 2
_MIN_PAIRS, _ENOUGH_PAIRS = 16, 20_000
# levels; larger steps are the image's own edges
_OUTLIER = 20.0
_MAX_OPACITY = 0.97


@frozen
class EdgePairs:
    """Pairs of pixels on either side of the mark's edges: luma, alpha and the mark's luma, each (2, pairs)."""

    luma: Reals
    alpha: Reals
    colour: Reals

    def gain(self) -> float:
        """Return the factor on the mark's alpha that leaves no trace of its edges when the blend is undone."""
        low, high = 0.0, _MAX_OPACITY / float(self.alpha.max())
        for _ in range(14):
            middle = (low + high) / 2
            low, high = (middle, high) if self._trace(middle) > 0 else (low, middle)
        return (low + high) / 2

    def edge_reduction(self, gain: float) -> float:
        """Return the share of the contrast at the mark's edges that undoing it with this gain removes: 1 is all."""
        before = float(np.abs(self._steps(0.0)[0]).sum())
        return 1 - float(np.abs(self._steps(gain)[0]).sum()) / before if before else 0.0

    def _trace(self, gain: float) -> float:
        """Return how much of the mark's edges is left at this gain; negative when it is too high."""
        own, added = self._steps(gain)
        return float((np.clip(own, -_OUTLIER, _OUTLIER) * added).sum())

    def _steps(self, gain: float) -> tuple[Reals, Reals]:
        """Return `own` and `added` of the module's head, each (pairs,)."""
        restored = (self.luma - gain * self.alpha * self.colour) / (1 - gain * self.alpha)
        # back in levels of the marked image: otherwise a high gain would enlarge every step, and noise with it
        own = (restored[1] - restored[0]) * (1 - gain * self.alpha.mean(axis=0))
        added = (self.alpha[1] - self.alpha[0]) * (self.colour - restored).mean(axis=0)
        return own, added


def sample_edges(luma: Grey | Reals, mark: Mark, x: int, y: int) -> EdgePairs | None:
    """Return the edges of a mark whose upper left corner is at (x, y) of the image; None when too few lie inside."""
    padded = mark.pad(_DISTANCE)
    patch, part = overlap(luma, padded, x - _DISTANCE, y - _DISTANCE)
    if min(patch.shape) <= _DISTANCE or part.alpha.max() < 0.01:
        return None
    stack = np.stack([patch.astype(np.float32), part.alpha, part.colour @ LUMA_WEIGHTS])
    ends = [_pair_ends(stack, axis) for axis in (1, 2)]
    # compared with the whole mark's alpha, so that a mark cut off by the border keeps the same edges
    pairs = np.concatenate([pair[:, :, _is_edge(pair, padded.alpha)] for pair in ends], axis=2)
    pairs = pairs[:, :, :: max(1, pairs.shape[2] // _ENOUGH_PAIRS)]
    return EdgePairs(*pairs) if pairs.shape[2] >= _MIN_PAIRS else None


def overlap(pixels: Pixels, mark: Mark, x: int, y: int) -> tuple[Pixels, Mark]:
    """Return the parts of the image (a view) and the mark that coincide with the mark's upper left corner at (x, y)."""
    rows, columns = clip_range(pixels.shape[0], mark.size[1], y), clip_range(pixels.shape[1], mark.size[0], x)
    part = mark.crop(slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))
    return pixels[rows, columns], part


def clip_range(whole: int, part: int, start: int) -> slice:
    """Return the slice of an axis of length `whole` that a part of length `part`, placed at `start`, covers."""
    return slice(min(max(0, start), whole), max(0, min(whole, start + part)))


def to_luma(pixels: Pixels) -> Grey:
    """Return the brightness of an image, 8 bits, (height, width)."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)
    return (grey // 257).astype(np.uint8) if grey.dtype == np.uint16 else grey


def _pair_ends(stack: Reals, axis: int) -> Reals:
    """Return (3, 2, pairs): each value of the stack, and the one `_DISTANCE` pixels further along the axis."""
    length = stack.shape[axis]
    here = np.take(stack, np.arange(length - _DISTANCE), axis=axis).reshape(3, -1)
    there = np.take(stack, np.arange(_DISTANCE, length), axis=axis).reshape(3, -1)
    return np.stack([here, there], axis=1)


def _is_edge(pairs: Reals, alpha: Reals) -> Pixels:
    """Return which pairs (3, 2, pairs) lie across an edge of the mark."""
    crossing: Pixels = np.abs(pairs[1, 1] - pairs[1, 0]) > 0.25 * float(alpha.max())
    return crossing
