"""Undoes known marks in the planes of video frames (Y, Cb, Cr), with everything computed before the first frame.

A video has thousands of frames with the mark at one place, so the equation of `unblend` is solved once, for YCbCr in
limited range (Y 16..235, Cb and Cr 16..240), in which video is stored:

    original = (seen - a*c) / (1 - a)  =  seen * scale - shift        scale = 1 / (1 - a), shift = a*c * scale

`a` is the mark's alpha times its gain, at most 0.98; c is its colour in YCbCr. A frame then costs one multiplication
and one subtraction per sample inside the mark's box, and no colour conversion of whole frames.

    Cb, Cr      With yuv420p they have half the resolution, as averages of 2 x 2 pixels: alpha and alpha * colour are
                averaged in the same way before scale and shift are computed. The box is widened to whole chroma
                samples, so that the averages are those of the frame.
    smoothing   Division amplifies compression noise; under the mark Y is smoothed with a bilateral filter, which
                keeps edges. In Cb and Cr noise is hardly visible.
    holes       Above 90 % opacity too little of the original is left: such pixels, like those of a mask without a
                mark, are inpainted in each plane of each frame, which costs far more than unblending.

Invariants: a plan is immutable and belongs to one frame size and pixel format; planes are changed in place; nothing
outside a mark's box and the holes changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from attrs import frozen

from ..detect import Detection
from ..edge_evidence import overlap
from ..inpaint import inpaint
from ..pixels import Grey, Pixels, Reals

# opacity above which a pixel cannot be computed
_OPAQUE = 0.9
# the weights of red and blue in brightness: BT.601, BT.709
_WEIGHTS = {False: (0.299, 0.114), True: (0.2126, 0.0722)}


@frozen
class PlaneUnblend:
    """One detection in one plane: within rows and columns, plane * scale - shift is the plane without the mark.

    `smoothing` is the bilateral filter's range in levels; 0 for none.
    """

    plane: int
    rows: slice
    columns: slice
    scale: Reals
    shift: Reals
    smoothing: float


def plan_planes(
    detections: Iterable[Detection], width: int, height: int, *, subsampled: bool, bt709: bool
) -> list[PlaneUnblend]:
    """Return what undoes the detections in frames of a size in pixels.

    `subsampled` says that chroma has half the resolution, `bt709` that colours are BT.709 instead of BT.601.
    """
    factor = 2 if subsampled else 1
    return [
        plane for detection in detections for plane in _plan_detection(detection, (height, width), factor, bt709=bt709)
    ]


def opaque_mask(detections: Iterable[Detection], width: int, height: int) -> Grey:
    """Return the mask of the pixels under which too little of the image is left to undo the blend."""
    mask = np.zeros((height, width), np.uint8)
    for detection in detections:
        area, mark = overlap(mask, detection.mark, detection.x, detection.y)
        area[mark.alpha * detection.gain > _OPAQUE] = 255
    return mask


def clean_planes(planes: Sequence[Grey], unblends: Iterable[PlaneUnblend], holes: Sequence[Grey] | None) -> None:
    """Undo the marks in the planes of one frame, in place, then inpaint the holes (one mask for each plane)."""
    for unblend in unblends:
        patch = planes[unblend.plane][unblend.rows, unblend.columns]
        restored = np.clip(patch * unblend.scale - unblend.shift, 0, 255)
        if unblend.smoothing:
            smooth = cv2.bilateralFilter(restored, 5, unblend.smoothing, 1.2)
            # the box also holds pixels that the mark does not touch
            restored = np.where(unblend.scale > 1.01, smooth, restored)
        patch[...] = np.round(restored).astype(np.uint8)
    for plane, hole in zip(planes, holes or (), strict=False):
        inpaint(plane, hole)


def hole_masks(hole: Grey, *, subsampled: bool) -> list[Grey] | None:
    """Return the mask for each plane; None when there is nothing to inpaint."""
    if not hole.any():
        return None
    size = (hole.shape[1] // 2, hole.shape[0] // 2) if subsampled else (hole.shape[1], hole.shape[0])
    chroma = np.where(cv2.resize(hole, size, interpolation=cv2.INTER_AREA) > 0, 255, 0).astype(np.uint8)
    return [hole, chroma, chroma]


def to_ycbcr(colour: Reals, *, bt709: bool) -> Reals:
    """Return BGR (0..255) as Y, Cb and Cr in limited range (16..235, 16..240), along the last axis."""
    red_weight, blue_weight = _WEIGHTS[bt709]
    blue, green, red = colour[..., 0], colour[..., 1], colour[..., 2]
    luma = red_weight * red + blue_weight * blue + (1 - red_weight - blue_weight) * green
    chroma = [
        (channel - luma) / (2 * (1 - weight)) * (224 / 255)
        for channel, weight in ((blue, blue_weight), (red, red_weight))
    ]
    return np.stack([16 + luma * (219 / 255), 128 + chroma[0], 128 + chroma[1]], axis=-1)


def split_planes(frame: Pixels, width: int, height: int) -> list[Grey]:
    """Return the planes, as views, of a frame's array from PyAV.

    A yuv444p frame is (3, height, width). A yuv420p frame is (height * 3 / 2, width): Y, and below it Cb and Cr.
    """
    if frame.ndim == 3:
        return list(frame)
    chroma = frame[height:].reshape(2, height // 2, width // 2)
    return [frame[:height], chroma[0], chroma[1]]


def _plan_detection(detection: Detection, shape: tuple[int, int], factor: int, *, bt709: bool) -> list[PlaneUnblend]:
    """Return what undoes one detection in each of the three planes; chroma is coarser by `factor`."""
    # drawn onto a canvas of the frame's size first: the mark may lie partly outside, at any offset to the chroma grid
    canvas = np.zeros((*shape, 4), np.float32)
    window, mark = overlap(canvas, detection.mark, detection.x, detection.y)
    alpha = np.minimum(mark.alpha * np.float32(detection.gain), 0.98)
    window[...] = np.dstack([to_ycbcr(mark.colour, bt709=bt709) * alpha[..., None], alpha])
    top, left, bottom, right = _aligned_box(detection, shape, factor)
    full = canvas[top:bottom, left:right]
    coarse = cv2.resize(full, ((right - left) // factor, (bottom - top) // factor), interpolation=cv2.INTER_AREA)
    chroma_area = slice(top // factor, bottom // factor), slice(left // factor, right // factor)
    smoothing = 11 / (1 - min(float(alpha.max()), _OPAQUE))
    return [
        _plan_plane(0, (slice(top, bottom), slice(left, right)), full, smoothing),
        _plan_plane(1, chroma_area, coarse, 0),
        _plan_plane(2, chroma_area, coarse, 0),
    ]


def _plan_plane(plane: int, area: tuple[slice, slice], blended: Reals, smoothing: float) -> PlaneUnblend:
    """Return the plan for one plane; `blended` holds alpha * (Y, Cb, Cr), and alpha, along its last axis."""
    scale = 1 / (1 - blended[..., 3])
    return PlaneUnblend(plane, *area, scale, blended[..., plane] * scale, smoothing)


def _aligned_box(detection: Detection, shape: tuple[int, int], factor: int) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of a detection within the frame, widened to whole chroma samples."""
    top, left = max(0, detection.y) // factor * factor, max(0, detection.x) // factor * factor
    bottom, right = detection.y + detection.mark.size[1], detection.x + detection.mark.size[0]
    return top, left, min(shape[0], -(-bottom // factor) * factor), min(shape[1], -(-right // factor) * factor)
