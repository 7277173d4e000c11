"""Contact sheet: several images before and after, side by side under captions, in one PNG."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from attrs import field, frozen

from ...emulator.pictures import side_by_side
from ...emulator.restoration.pixels import Pixels

# pixels: the size of a tile, and the space around a row
_WIDTH, _HEIGHT, _MARGIN = 420, 315, 20


@frozen
class Pair:
    """An image before and after, and a caption for each."""

    before: bytes = field(repr=False)
    after: bytes = field(repr=False)
    captions: tuple[str, str]


def draw_contact_sheet(pairs: Sequence[Pair]) -> bytes:
    """Return a PNG of all pairs, one below the other."""
    rows = [_decode(side_by_side(_tile(pair.before), _tile(pair.after), pair.captions)) for pair in pairs]
    widest = max(row.shape[1] for row in rows)
    white = (255, 255, 255)
    framed = [
        cv2.copyMakeBorder(
            row, _MARGIN // 2, _MARGIN // 2, _MARGIN, _MARGIN + widest - row.shape[1], cv2.BORDER_CONSTANT, value=white
        )
        for row in rows
    ]
    return cv2.imencode(".png", np.vstack(framed))[1].tobytes()


def _tile(image: bytes) -> bytes:
    """Return a PNG of the image, scaled to fit a tile."""
    pixels = _decode(image)
    scale = min(_WIDTH / pixels.shape[1], _HEIGHT / pixels.shape[0])
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    # all tiles have one width, so that the columns line up; the height is free
    canvas = np.full((size[1], _WIDTH, 3), 255, np.uint8)
    canvas[:, : size[0]] = cv2.resize(pixels, size, interpolation=interpolation)
    return cv2.imencode(".png", canvas)[1].tobytes()


def _decode(image: bytes) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ValueError("the image cannot be decoded")
    return pixels
