"""Locates a known mark in an image: position, size and strength. Reports nothing rather than a doubtful place.

The search has two stages for each size that is tried: similarity (cheap, every position) proposes candidates, edge
evidence (exact, one position) decides.

    size            first the mark's own size, or the largest that fits into the image; then one other size, found by
                    trying 43 scales from 0.4 to 2.1, each with a template of about 36 x 36 pixels. The best three are
                    refined: in steps of 2 % and less, then pixel by pixel in width and height, at last by the kernel
                    with which the mark was probably resized.
    candidates      positions with a similarity of 0.03 or more, 64 at most, on a copy that is smaller by a whole
                    factor where image and mark are large; each is then moved to the best position at full resolution
    evidence        gain, and r = edge reduction - 60 / number of pairs (the fewer pairs, the more chance explains)

A candidate is judged by r:

    r < 0.12, or opacity < 3 %   discarded
    r >= 0.25                    certain
    in between                   faint: counts only beside a certain one, and only with nearly the same gain

A tiled mark is blended with one opacity everywhere. Therefore all detections within 12 % of the median gain of the
certain ones take that median, which is more exact than each alone; a median within 3 % of 1 becomes 1, because the
file as it is, is the likeliest strength. Certain detections of another gain keep it.

Invariants: without a certain detection the result is empty; all detections have one size; the same input gives the
same result. The tests hold that unmarked photographs, noise, checkerboards and texts yield none.

One core takes 0.06 s for 640 x 480 pixels with the mark at its own size, 0.35 s at another size; in 12 megapixels the
coarse copy finds a mark of 900 pixels in 0.15 s, where one pass at full resolution would take 0.9 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from attrs import evolve, frozen

from .edge_evidence import clip_range, sample_edges
from .pixels import Grey, Mark, Reals
from .similarity import match_scores

# similarity below this is chance; unmarked photographs reach it in places, but there no edge fades
_MIN_SIMILARITY = 0.03
_MAX_CANDIDATES = 64
# edge reduction of a certain and of a faint detection
_CERTAIN_REDUCTION, _FAINT_REDUCTION = 0.25, 0.12
# in unmarked images few pairs reach a reduction by chance: 0.3 with 200 pairs
_CHANCE_PAIRS = 60
_MIN_OPACITY = 0.03
# pixels of the copy on which a large image is searched
_SEARCH_PIXELS = 1_000_000
# side, in pixels, of the square with the area of the template with which scales are compared
_TEMPLATE_SIDE = 36
_SCALES = np.geomspace(0.4, 2.1, 43)
# editors resize marks with different kernels; the right one leaves fewer edges
_INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@frozen
class Detection:
    """A mark in an image: as it was blended in, x and y of its upper left corner, and the gain on its alpha."""

    mark: Mark
    x: int
    y: int
    gain: float
    certain: bool

    @property
    def alpha(self) -> Reals:
        """The opacity in the image, 0..1, (height, width)."""
        return self.mark.alpha * np.float32(self.gain)


def detect(luma: Grey, mark: Mark) -> tuple[Detection, ...]:
    """Return every occurrence of the mark in an image's brightness (height, width; 0..255), all of one size."""
    for width, height in _natural_sizes(mark, luma):
        if detections := _detect_at_size(luma, mark.resize(width, height).crop_to_visible()):
            return detections
    for scaled in _scaled_marks(luma, mark):
        if detections := _detect_at_size(luma, scaled):
            return detections
    return ()


def _natural_sizes(mark: Mark, luma: Grey) -> Iterator[tuple[int, int]]:
    """Yield the mark's own size, unless far too much of it would be cut off, and the largest size that fits."""
    (width, height), (image_height, image_width) = mark.size, luma.shape
    fit = min(image_width / width, image_height / height)
    if fit > 0.6:
        yield width, height
    if fit < 1:
        yield max(1, round(width * fit)), max(1, round(height * fit))


def _detect_at_size(luma: Grey, mark: Mark) -> tuple[Detection, ...]:
    factor = _coarse_factor(luma, mark)
    small = cv2.resize(luma, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA) if factor > 1 else luma
    template = mark.resize(round(mark.size[0] / factor), round(mark.size[1] / factor))
    # tiled marks are cut off at the border: up to 60 % may lie outside
    positions = match_scores(small, template, outside=0.6).peaks(template.size, _MIN_SIMILARITY, _MAX_CANDIDATES)
    reach = factor if factor > 1 else 0
    candidates = (_examine(luma, mark, x * factor, y * factor, reach) for x, y in positions)
    return _with_common_gain([detection for detection in candidates if detection])


def _coarse_factor(luma: Grey, mark: Mark) -> int:
    """Return by how much to shrink a large image for the search, as far as the mark stays recognisable."""
    coarsest = min(mark.size[0] / 48, mark.size[1] / 12, (luma.size / _SEARCH_PIXELS) ** 0.5)
    return max(1, int(coarsest))


def _examine(luma: Grey, mark: Mark, x: int, y: int, reach: int) -> Detection | None:
    """Return the detection at the best position within `reach` pixels of (x, y), or None without enough evidence."""
    similarity, x, y = _best_near(luma, mark, x, y, reach)
    pairs = sample_edges(luma, mark, x, y)
    if pairs is None or similarity < _MIN_SIMILARITY:
        return None
    gain = pairs.gain()
    reduction = pairs.edge_reduction(gain) - _CHANCE_PAIRS / pairs.luma.shape[1]
    if gain * float(mark.alpha.max()) < _MIN_OPACITY or reduction < _FAINT_REDUCTION:
        return None
    return Detection(mark, x, y, gain, certain=reduction >= _CERTAIN_REDUCTION)


def _best_near(luma: Grey, mark: Mark, x: int, y: int, reach: int) -> tuple[float, int, int]:
    """Return the highest similarity within `reach` pixels of (x, y), and its x and y, at full resolution."""
    # eight pixels more than are searched: fine structure at the cut would be an artefact
    margin = reach + 8
    rows = clip_range(luma.shape[0], mark.size[1] + 2 * margin, y - margin)
    columns = clip_range(luma.shape[1], mark.size[0] + 2 * margin, x - margin)
    scores = match_scores(luma[rows, columns], mark, outside=0.6)
    top, left = y - reach - rows.start - scores.top, x - reach - columns.start - scores.left
    window = scores.scores[max(0, top) : top + 2 * reach + 1, max(0, left) : left + 2 * reach + 1]
    _, score, _, (column, row) = cv2.minMaxLoc(window)
    return score, x - reach + column - min(0, left), y - reach + row - min(0, top)


def _with_common_gain(detections: list[Detection]) -> tuple[Detection, ...]:
    """Return the certain detections, and the faint ones of the same strength; one gain where they nearly agree."""
    certain_gains = [detection.gain for detection in detections if detection.certain]
    if not certain_gains:
        return ()
    common = float(np.median(certain_gains))
    common = 1.0 if abs(common - 1) < 0.03 else common
    return tuple(_adopt_gain(detections, common))


def _adopt_gain(detections: Iterable[Detection], common: float) -> Iterator[Detection]:
    for detection in detections:
        if abs(detection.gain - common) < 0.12 * common:
            yield evolve(detection, gain=common)
        elif detection.certain:
            yield detection


def _scaled_marks(luma: Grey, mark: Mark) -> Iterator[Mark]:
    """Yield the mark at the sizes it may have in the image, the likeliest first; nothing when nothing is similar."""
    shrink = min(1.0, (_SEARCH_PIXELS / luma.size) ** 0.5)
    base = cv2.resize(luma, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else luma
    matches = (_match_at_scale(base, mark, scale, shrink) for scale in _SCALES)
    best_first = sorted((match for match in matches if match), reverse=True)
    for similarity, scale, x, y in best_first[:3]:
        if similarity >= _MIN_SIMILARITY and (scaled := _refine_scale(luma, mark, scale, x, y)):
            yield scaled


def _match_at_scale(base: Grey, mark: Mark, scale: float, shrink: float) -> tuple[float, float, float, float] | None:
    """Return similarity, scale, x and y of the best position at one scale, found with a small template.

    `base` is the image shrunk by `shrink`; x and y are positions in the full image. None when the mark does not fit.
    """
    width, height = (side * scale * shrink for side in mark.size)
    factor = min(1.0, _TEMPLATE_SIDE / (width * height) ** 0.5)
    columns, rows = round(width * factor), round(height * factor)
    if min(columns, rows) < 6 or columns > base.shape[1] * factor * 1.05 or rows > base.shape[0] * factor * 1.05:
        return None
    small = cv2.resize(base, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else base
    similarity, x, y = match_scores(small, mark.resize(columns, rows)).best()
    return similarity, scale, x / factor / shrink, y / factor / shrink


def _refine_scale(luma: Grey, mark: Mark, scale: float, x: float, y: float) -> Mark | None:
    """Return the visible part of the mark at the size, to the pixel, that fits best around (x, y).

    None when no size reduces the edges enough.
    """
    area = _surroundings(luma, mark, scale, x, y)
    step = 0.02
    # down to steps that change the width by about half a pixel
    while step * mark.size[0] * scale > 0.6:
        candidates = [scale * (1 + step * direction) for direction in (-1, 0, 1)]
        scale = max(candidates, key=lambda candidate: _similarity_at(area, mark, candidate, step))
        step /= 2
    size = (round(mark.size[0] * scale), round(mark.size[1] * scale))
    if _edge_reduction(area, mark.resize(*size)) < _FAINT_REDUCTION:
        return None
    size = _climb(area, mark, size)
    resized = [mark.resize(*size, interpolation) for interpolation in _INTERPOLATIONS]
    return max(resized, key=lambda candidate: _edge_reduction(area, candidate)).crop_to_visible()


def _climb(area: Grey, mark: Mark, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size near the given one, in pixels, at which undoing the mark leaves least of its edges."""
    known = {size: _edge_reduction(area, mark.resize(*size))}
    # a bound on the cost; a few rounds are usual
    while len(known) < 60:
        # width and height vary independently: editors round them separately
        neighbours = [(size[0] + wider, size[1] + taller) for wider in (-2, -1, 0, 1, 2) for taller in (-1, 0, 1)]
        new_sizes = [candidate for candidate in neighbours if candidate not in known and min(candidate) > 0]
        known |= {candidate: _edge_reduction(area, mark.resize(*candidate)) for candidate in new_sizes}
        if (best := max(known, key=lambda candidate: known[candidate])) == size:
            break
        size = best
    return size


def _edge_reduction(area: Grey, mark: Mark) -> float:
    """Return the edge reduction at the position in the area that is most similar to the mark."""
    _, x, y = match_scores(area, mark).best()
    pairs = sample_edges(area, mark, x, y)
    return pairs.edge_reduction(pairs.gain()) if pairs else 0.0


def _surroundings(luma: Grey, mark: Mark, scale: float, x: float, y: float) -> Grey:
    """Return the part of the image where the scaled mark may be, 8 % of its longer side and 4 pixels wider."""
    width, height = (side * scale for side in mark.size)
    margin = round(0.08 * max(width, height)) + 4
    rows = clip_range(luma.shape[0], round(height) + 2 * margin, round(y) - margin)
    return luma[rows, clip_range(luma.shape[1], round(width) + 2 * margin, round(x) - margin)]


def _similarity_at(area: Grey, mark: Mark, scale: float, step: float) -> float:
    """Return the mark's similarity at a scale, computed as coarsely as the step between scales allows."""
    width, height = (side * scale for side in mark.size)
    factor = min(1.0, max(1.5 / (step * width), _TEMPLATE_SIDE / (width * height) ** 0.5))
    small = cv2.resize(area, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else area
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return match_scores(small, mark.resize(*size)).best()[0]
