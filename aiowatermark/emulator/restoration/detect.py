"""Where a known mark is in a picture, how large and how strong; nowhere, rather than in a doubtful place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from attrs import evolve, frozen

from .edge_evidence import edges, shared
from .pixels import Grey, Mark, Reals
from .similarity import match_scores

# a score below this is chance; unmarked photographs reach it in places, but there no edge fades
_ALIKE = 0.03
# the share of edges that must fade: for a first hit, and for further ones of the same strength
_SURE_SCORE, _FAINT = 0.25, 0.12
# and more when there are few pairs of pixels to judge by: chance does that for 200 pairs
_PAIRS = 60
_WEAKEST = 0.03
_MOST = 64
_PIXELS = 1_000_000
_TEMPLATE = 36
_SCALES = np.geomspace(0.4, 2.1, 43)
_WAYS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@frozen
class Detection:
    """A mark in a picture: as it was blended in, its upper left corner, and the gain on its alpha."""

    mark: Mark
    x: int
    y: int
    gain: float
    certain: bool

    @property
    def alpha(self) -> Reals:
        """The opacity in the picture, 0..1, (height, width)."""
        return self.mark.alpha * np.float32(self.gain)


def detect(luma: Grey, mark: Mark) -> tuple[Detection, ...]:
    """Every place of the mark in a picture's brightness (height, width); at its own size, else at one other size."""
    for width, height in _natural_sizes(mark, luma):
        if hits := _detections(luma, mark.resize(width, height).as_displayed()):
            return hits
    for seen in _scaled(luma, mark):
        if hits := _detections(luma, seen):
            return hits
    return ()


def _natural_sizes(mark: Mark, luma: Grey) -> Iterator[tuple[int, int]]:
    (width, height), (high, wide) = mark.size, luma.shape
    fit = min(wide / width, high / height)
    if fit > 0.6:
        yield width, height
    if fit < 1:
        yield max(1, round(width * fit)), max(1, round(height * fit))


def _detections(luma: Grey, mark: Mark) -> tuple[Detection, ...]:
    step = _step(luma, mark)
    small = cv2.resize(luma, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA) if step > 1 else luma
    outline = mark.resize(round(mark.size[0] / step), round(mark.size[1] / step))
    places = match_scores(small, outline, outside=0.6).peaks(outline.size, _ALIKE, _MOST)
    settled = (_refine_position(luma, mark, x * step, y * step, step if step > 1 else 0) for x, y in places)
    return _with_common_scale([hit for hit in settled if hit])


def _step(luma: Grey, mark: Mark) -> int:
    """How many times coarser to look first: large pictures are searched on a small copy, as far as the mark allows."""
    coarsest = min(mark.size[0] / 48, mark.size[1] / 12, (luma.size / _PIXELS) ** 0.5)
    return max(1, int(coarsest))


def _refine_position(luma: Grey, mark: Mark, x: int, y: int, reach: int) -> Detection | None:
    """The hit at the best place within reach of (x, y), or None when its edges do not fade."""
    score, x, y = _best_near(luma, mark, x, y, reach)
    pairs = edges(luma, mark, x, y)
    if pairs is None or score < _ALIKE:
        return None
    gain = pairs.gain()
    proof = pairs.edge_reduction(gain) - _PAIRS / pairs.luma.shape[1]
    if gain * float(mark.alpha.max()) < _WEAKEST or proof < _FAINT:
        return None
    return Detection(mark, x, y, gain, certain=proof >= _SURE_SCORE)


def _best_near(luma: Grey, mark: Mark, x: int, y: int, reach: int) -> tuple[float, int, int]:
    margin = reach + 8
    rows = shared(luma.shape[0], mark.size[1] + 2 * margin, y - margin)
    columns = shared(luma.shape[1], mark.size[0] + 2 * margin, x - margin)
    found = match_scores(luma[rows, columns], mark, outside=0.6)
    top, left = y - reach - rows.start - found.top, x - reach - columns.start - found.left
    window = found.scores[max(0, top) : top + 2 * reach + 1, max(0, left) : left + 2 * reach + 1]
    _, score, _, (column, row) = cv2.minMaxLoc(window)
    return score, x - reach + column - min(0, left), y - reach + row - min(0, top)


def _with_common_scale(hits: list[Detection]) -> tuple[Detection, ...]:
    """The hits to believe: sure ones, and faint ones as strong as the sure; one gain where they nearly agree."""
    sure = [hit.gain for hit in hits if hit.certain]
    if not sure:
        return ()
    common = float(np.median(sure))
    # the file as it is, is the likeliest strength of all
    common = 1.0 if abs(common - 1) < 0.03 else common
    return tuple(_merge(hits, common))


def _merge(hits: Iterable[Detection], common: float) -> Iterator[Detection]:
    for hit in hits:
        if abs(hit.gain - common) < 0.12 * common:
            yield evolve(hit, gain=common)
        elif hit.certain:
            yield hit


def _scaled(luma: Grey, mark: Mark) -> Iterator[Mark]:
    """The mark at the sizes it may have in the picture, likeliest first, none when nothing looks like it."""
    shrink = min(1.0, (_PIXELS / luma.size) ** 0.5)
    base = cv2.resize(luma, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else luma
    looks = sorted((look for scale in _SCALES if (look := _match_at_scale(base, mark, scale, shrink))), reverse=True)
    for score, scale, x, y in looks[:3]:
        if score >= _ALIKE and (sharp := _refine_scale(luma, mark, scale, x, y)):
            yield sharp


def _match_at_scale(base: Grey, mark: Mark, scale: float, shrink: float) -> tuple[float, float, float, float] | None:
    """Score, scale, x and y of the best place for the mark at a scale, looked for with a small template."""
    width, height = (side * scale * shrink for side in mark.size)
    factor = min(1.0, _TEMPLATE / (width * height) ** 0.5)
    wide, high = round(width * factor), round(height * factor)
    if min(wide, high) < 6 or wide > base.shape[1] * factor * 1.05 or high > base.shape[0] * factor * 1.05:
        return None
    small = cv2.resize(base, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else base
    score, x, y = match_scores(small, mark.resize(wide, high)).best()
    return score, scale, x / factor / shrink, y / factor / shrink


def _refine_scale(luma: Grey, mark: Mark, scale: float, x: float, y: float) -> Mark | None:
    """The mark at the size that fits best around (x, y), to the pixel, and as seen; None when no size promises much."""
    area = _around(luma, mark, scale, x, y)
    step = 0.02
    while step * mark.size[0] * scale > 0.6:
        tries = [scale * (1 + step * way) for way in (-1, 0, 1)]
        scale = max(tries, key=lambda candidate: _fit(area, mark, candidate, step))
        step /= 2
    size = (round(mark.size[0] * scale), round(mark.size[1] * scale))
    if _edge_reduction(area, mark.resize(*size)) < _FAINT:
        return None
    size = _climb(area, mark, size)
    ways = [mark.resize(*size, way) for way in _WAYS]
    return max(ways, key=lambda way: _edge_reduction(area, way)).as_displayed()


def _climb(area: Grey, mark: Mark, size: tuple[int, int]) -> tuple[int, int]:
    """The size near the one given, in pixels, at which undoing the mark leaves least of its edges."""
    known = {size: _edge_reduction(area, mark.resize(*size))}
    while len(known) < 60:
        around = [(size[0] + more, size[1] + taller) for more in (-2, -1, 0, 1, 2) for taller in (-1, 0, 1)]
        known |= {one: _edge_reduction(area, mark.resize(*one)) for one in around if one not in known and min(one) > 0}
        if (best := max(known, key=lambda one: known[one])) == size:
            break
        size = best
    return size


def _edge_reduction(area: Grey, mark: Mark) -> float:
    _, x, y = match_scores(area, mark).best()
    pairs = edges(area, mark, x, y)
    return pairs.edge_reduction(pairs.gain()) if pairs else 0.0


def _around(luma: Grey, mark: Mark, scale: float, x: float, y: float) -> Grey:
    width, height = (side * scale for side in mark.size)
    margin = round(0.08 * max(width, height)) + 4
    rows = shared(luma.shape[0], round(height) + 2 * margin, round(y) - margin)
    return luma[rows, shared(luma.shape[1], round(width) + 2 * margin, round(x) - margin)]


def _fit(area: Grey, mark: Mark, scale: float, step: float) -> float:
    """How well the mark fits at a scale; looked at as coarsely as the step between scales allows."""
    width, height = (side * scale for side in mark.size)
    factor = min(1.0, max(1.5 / (step * width), _TEMPLATE / (width * height) ** 0.5))
    small = cv2.resize(area, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else area
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return match_scores(small, mark.resize(*size)).best()[0]
