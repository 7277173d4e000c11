"""How much each place of a picture looks like a given mark blended in."""

from __future__ import annotations

import cv2
import numpy as np
from attrs import frozen

from .pixels import Grey, Mark, Reals

# levels: fine structure weaker than this is noise of the camera or of compression
_NOISE = 1.0
_BORDER = 4
LUMA = np.array([0.114, 0.587, 0.299], np.float32)


@frozen
class MatchScores:
    """Scores 0..1 of all places: scores[y - top, x - left] is for the mark with its upper left corner at (x, y)."""

    scores: Reals
    left: int
    top: int

    def best(self) -> tuple[float, int, int]:
        """The highest score, and x and y of its place."""
        _, score, _, (column, row) = cv2.minMaxLoc(self.scores)
        return score, column + self.left, row + self.top

    def peaks(self, size: tuple[int, int], floor: float, most: int) -> list[tuple[int, int]]:
        """Up to `most` places with scores above the floor, best first, none near another one; size is the mark's."""
        left = MatchScores(self.scores.copy(), self.left, self.top)
        places: list[tuple[int, int]] = []
        while len(places) < most:
            score, x, y = left.best()
            if score <= floor:
                break
            places.append((x, y))
            row, column, high, wide = y - self.top, x - self.left, size[1] // 2 + 1, size[0] // 4 + 1
            left.scores[max(0, row - high) : row + high + 1, max(0, column - wide) : column + wide + 1] = 0
        return places


def match_scores(luma: Grey | Reals, mark: Mark, outside: float = 0.0) -> MatchScores:
    """The share of the picture's fine structure, under the mark's outline, that the mark explains.

    Under a mark the fine structure is gain * fine(alpha * colour) - gain * background * fine(alpha), with gain and
    background unknown: a plane in the space of patches. The score is how much of a patch lies in that plane. The
    picture is (height, width); `outside` is the share of the mark that may lie beyond the picture's border.
    """
    width, height = mark.size
    across, down = round(width * outside), round(height * outside)
    across, down = max(across, width - luma.shape[1]), max(down, height - luma.shape[0])
    margins = (down + _BORDER, down + _BORDER, across + _BORDER, across + _BORDER)
    fine = cv2.copyMakeBorder(_fine(luma.astype(np.float32)), *margins, cv2.BORDER_CONSTANT)
    outline, plane = _plane(mark.pad(_BORDER))
    energy = cv2.matchTemplate(fine * fine, outline, cv2.TM_CCORR)
    explained: Reals = np.zeros(energy.shape, np.float32)
    for template in plane:
        explained = explained + cv2.matchTemplate(fine, template, cv2.TM_CCORR) ** 2
    noise = _NOISE * float(outline.sum())
    return MatchScores(explained / (np.maximum(energy, 0) + noise), -across, -down)


def _plane(mark: Mark) -> tuple[Reals, list[Reals]]:
    """The outline (0 and 1), and one or two templates, orthogonal and of length 1, that span the mark's patches."""
    outline = cv2.dilate((mark.alpha > 0.02).astype(np.float32), np.ones((5, 5), np.uint8))
    first = _unit(_fine(mark.alpha) * outline)
    second = _fine(mark.alpha * (mark.colour @ LUMA)) * outline
    rest = second - first * float((first * second).sum())
    # a mark of one colour spans a line only
    if np.linalg.norm(rest) > 0.15 * np.linalg.norm(second):
        return outline, [first, _unit(rest)]
    return outline, [first]


def _fine(pixels: Reals) -> Reals:
    return pixels - cv2.GaussianBlur(pixels, (0, 0), 2)


def _unit(template: Reals) -> Reals:
    return template / max(float(np.linalg.norm(template)), 1e-9)
