"""A known mark undone in the planes of video frames (Y, Cb, Cr), all that can be computed before the first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from attrs import frozen

from ..detect import Detection
from ..edge_evidence import overlap
from ..inpaint import inpaint
from ..pixels import Grey, Pixels, Reals

_OPAQUE = 0.9
# how much red and blue weigh in brightness: BT.601, BT.709
_WEIGHTS = {False: (0.299, 0.114), True: (0.2126, 0.0722)}


@frozen
class PlaneUnblend:
    """One hit in one plane: plane * scale - shift is the plane without the mark, within rows and columns."""

    plane: int
    rows: slice
    columns: slice
    scale: Reals
    shift: Reals
    smoothing: float


def plan_planes(
    hits: Iterable[Detection], width: int, height: int, *, halved: bool, modern: bool
) -> list[PlaneUnblend]:
    """What undoes the hits in frames of a size; chroma is halved or not, colours are BT.709 (modern) or BT.601."""
    return [peel for hit in hits for peel in _plan_detection(hit, (height, width), 2 if halved else 1, modern=modern)]


def opaque_mask(hits: Iterable[Detection], width: int, height: int) -> Grey:
    """The mask of what lets too little of the picture through to be undone."""
    mask = np.zeros((height, width), np.uint8)
    for hit in hits:
        part, mark = overlap(mask, hit.mark, hit.x, hit.y)
        part[mark.alpha * hit.gain > _OPAQUE] = 255
    return mask


def clean_planes(planes: Sequence[Grey], peelings: Iterable[PlaneUnblend], holes: Sequence[Grey] | None) -> None:
    """Undoes the marks in the planes of one frame, in place, then fills the holes (one mask for each plane)."""
    for peel in peelings:
        patch = planes[peel.plane][peel.rows, peel.columns]
        restored = np.clip(patch * peel.scale - peel.shift, 0, 255)
        if peel.smoothing:
            smooth = cv2.bilateralFilter(restored, 5, peel.smoothing, 1.2)
            restored = np.where(peel.scale > 1.01, smooth, restored)
        patch[...] = np.round(restored).astype(np.uint8)
    for plane, hole in zip(planes, holes or (), strict=False):
        inpaint(plane, hole)


def holes_of(hole: Grey, *, halved: bool) -> list[Grey] | None:
    """The mask for each plane; None when there is nothing to fill."""
    if not hole.any():
        return None
    size = (hole.shape[1] // 2, hole.shape[0] // 2) if halved else (hole.shape[1], hole.shape[0])
    chroma = np.where(cv2.resize(hole, size, interpolation=cv2.INTER_AREA) > 0, 255, 0).astype(np.uint8)
    return [hole, chroma, chroma]


def to_ycc(colour: Reals, *, modern: bool) -> Reals:
    """BGR (0..255) as Y, Cb and Cr in the narrow range of video (16..235, 16..240), along the last axis."""
    red_weight, blue_weight = _WEIGHTS[modern]
    blue, green, red = colour[..., 0], colour[..., 1], colour[..., 2]
    luma = red_weight * red + blue_weight * blue + (1 - red_weight - blue_weight) * green
    chroma = [
        (part - luma) / (2 * (1 - weight)) * (224 / 255) for part, weight in ((blue, blue_weight), (red, red_weight))
    ]
    return np.stack([16 + luma * (219 / 255), 128 + chroma[0], 128 + chroma[1]], axis=-1)


def split(frame: Pixels, width: int, height: int) -> list[Grey]:
    """The planes, as views, of a frame as PyAV gives it: yuv420p (one sheet) or yuv444p (three)."""
    if frame.ndim == 3:
        return list(frame)
    chroma = frame[height:].reshape(2, height // 2, width // 2)
    return [frame[:height], chroma[0], chroma[1]]


def _plan_detection(hit: Detection, shape: tuple[int, int], half: int, *, modern: bool) -> list[PlaneUnblend]:
    """The peels of one hit, on the even grid that chroma is stored on."""
    canvas = np.zeros((*shape, 4), np.float32)
    window, mark = overlap(canvas, hit.mark, hit.x, hit.y)
    alpha = np.minimum(mark.alpha * np.float32(hit.gain), 0.98)
    window[...] = np.dstack([to_ycc(mark.colour, modern=modern) * alpha[..., None], alpha])
    top, left, bottom, right = _even_area(hit, shape, half)
    part = canvas[top:bottom, left:right]
    small = cv2.resize(part, ((right - left) // half, (bottom - top) // half), interpolation=cv2.INTER_AREA)
    corner = slice(top // half, bottom // half), slice(left // half, right // half)
    smoothing = 11 / (1 - min(float(alpha.max()), _OPAQUE))
    return [
        _plan_plane(0, (slice(top, bottom), slice(left, right)), part, smoothing),
        _plan_plane(1, corner, small, 0),
        _plan_plane(2, corner, small, 0),
    ]


def _plan_plane(plane: int, area: tuple[slice, slice], part: Reals, smoothing: float) -> PlaneUnblend:
    scale = 1 / (1 - part[..., 3])
    return PlaneUnblend(plane, *area, scale, part[..., plane] * scale, smoothing)


def _even_area(hit: Detection, shape: tuple[int, int], half: int) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of a hit within the frame, widened to whole chroma samples."""
    top, left = max(0, hit.y) // half * half, max(0, hit.x) // half * half
    bottom, right = hit.y + hit.mark.size[1], hit.x + hit.mark.size[0]
    return top, left, min(shape[0], -(-bottom // half) * half), min(shape[1], -(-right // half) * half)
