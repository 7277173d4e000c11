"""Scores every position of an image by how much it looks like a given mark blended in (template matching).

Ordinary template matching compares brightness, which fails here: a mark is translucent, of unknown strength, over an
unknown background. Compared instead is fine structure, fine(x) = x - gauss(x, 2 pixels), and only as far as the mark
can explain it. With alpha a and colour c of the mark, gain g and a background b that is even under a letter's stroke,

    seen       = b + g*a*(c - b)
    fine(seen) = g * fine(a*c) - g*b * fine(a)

g and b are unknown, so patches with the mark are the plane spanned by two known templates, fine(a) and fine(a*c). The
score of a position is the share of the patch's energy that lies in this plane, by projection on an orthonormal basis:

    score = sum over templates t of (patch . t)^2 / (|patch|^2 + noise)          0 (nothing) to 1 (all)

Every product is one `cv2.matchTemplate`, which computes it for all positions by Fourier transform; the score therefore
costs the same for any gain, background, dark marks and bright ones.

    mark of one colour   fine(a*c) is a multiple of fine(a): one template, the plane is a line
    outline              patch and templates are restricted to the visible mark, grown by two pixels, so that the
                         image's structure between letters does not count against the mark
    noise                one level per pixel of the outline: keeps flat areas, where rounding is all the structure
                         there is, from scoring
    border               the image is padded with zeros, which have no structure: a mark may lie partly outside

A score alone proves nothing, since a photograph resembles some marks in places; `edge_evidence` decides.
"""

from __future__ import annotations

import cv2
import numpy as np
from attrs import frozen

from .pixels import Grey, Mark, Reals

# levels (root mean square) of fine structure that the camera or compression make on their own
_NOISE = 1.0
# pixels around the mark: its fine structure reaches that far beyond its edge
_BORDER = 4
# BT.601, in OpenCV's order: blue, green, red
LUMA_WEIGHTS = np.array([0.114, 0.587, 0.299], np.float32)


@frozen
class MatchScores:
    """Scores (0..1) of all positions: scores[y - top, x - left] is for the mark's upper left corner at (x, y)."""

    scores: Reals
    left: int
    top: int

    def best(self) -> tuple[float, int, int]:
        """Return the highest score and its position, x and y."""
        _, score, _, (column, row) = cv2.minMaxLoc(self.scores)
        return score, column + self.left, row + self.top

    def peaks(self, size: tuple[int, int], floor: float, most: int) -> list[tuple[int, int]]:
        """Return up to `most` positions (x, y) that score above `floor`, best first, none close to a better one.

        `size` is the mark's width and height: half its height and a quarter of its width count as close.
        """
        remaining = MatchScores(self.scores.copy(), self.left, self.top)
        positions: list[tuple[int, int]] = []
        while len(positions) < most:
            score, x, y = remaining.best()
            if score <= floor:
                break
            positions.append((x, y))
            row, column, rows, columns = y - self.top, x - self.left, size[1] // 2 + 1, size[0] // 4 + 1
            remaining.scores[max(0, row - rows) : row + rows + 1, max(0, column - columns) : column + columns + 1] = 0
        return positions


def match_scores(luma: Grey | Reals, mark: Mark, outside: float = 0.0) -> MatchScores:
    """Return for every position the share of the image's fine structure, under the mark's outline, that it explains.

    `luma` is (height, width), 0..255; `outside` is the share of the mark that may lie beyond the image's border.
    """
    width, height = mark.size
    across, down = round(width * outside), round(height * outside)
    # matchTemplate needs an image that is at least as large as the template
    across, down = max(across, width - luma.shape[1]), max(down, height - luma.shape[0])
    margins = (down + _BORDER, down + _BORDER, across + _BORDER, across + _BORDER)
    fine = cv2.copyMakeBorder(_fine(luma.astype(np.float32)), *margins, cv2.BORDER_CONSTANT)
    outline, templates = _templates(mark.pad(_BORDER))
    energy = cv2.matchTemplate(fine * fine, outline, cv2.TM_CCORR)
    explained: Reals = np.zeros(energy.shape, np.float32)
    for template in templates:
        explained = explained + cv2.matchTemplate(fine, template, cv2.TM_CCORR) ** 2
    noise = _NOISE * float(outline.sum())
    # rounding of the Fourier transform can make an energy of zero slightly negative
    return MatchScores(explained / (np.maximum(energy, 0) + noise), -across, -down)


def _templates(mark: Mark) -> tuple[Reals, list[Reals]]:
    """Return the outline (0 and 1) and one or two orthonormal templates that span the patches with this mark."""
    outline = cv2.dilate((mark.alpha > 0.02).astype(np.float32), np.ones((5, 5), np.uint8))
    first = _normalise(_fine(mark.alpha) * outline)
    second = _fine(mark.alpha * (mark.colour @ LUMA_WEIGHTS)) * outline
    orthogonal = second - first * float((first * second).sum())
    # of a mark of one colour only rounding is left here
    if np.linalg.norm(orthogonal) > 0.15 * np.linalg.norm(second):
        return outline, [first, _normalise(orthogonal)]
    return outline, [first]


def _fine(pixels: Reals) -> Reals:
    return pixels - cv2.GaussianBlur(pixels, (0, 0), 2)


def _normalise(template: Reals) -> Reals:
    return template / max(float(np.linalg.norm(template)), 1e-9)
