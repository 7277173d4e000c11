"""Removes a watermark from an image: inpaints under a mask, or undoes the blend of a known mark.

What is done depends on what is given:

    mask    mark    method
    yes     no      the white areas of the mask are inpainted from their surroundings (`inpaint`)
    no      yes     the mark is located (`detect`) and its blend is undone at each place (`unblend`)
    yes     yes     the mark is undone where at least half of it lies under the mask; areas of the mask that touch
                    no such mark are inpainted
    no      no      nothing: guessing where a watermark is would damage images without one

Undoing is preferred because it computes the original pixels, while inpainting invents them: under a mark of 45 %
opacity on a JPEG the tests demand a PSNR above 36 dB, where the marked image has less than 20; of inpainting they
demand 12 dB more than the marked image has. Pixels that cannot be computed (an opaque part of the mark, or a result
far outside 0..255) are inpainted afterwards.

Invariants: size, format, bit depth, channels and EXIF orientation stay as they were. Where nothing is removed, because
no mark was found or the mask is black, the result is the given bytes, not a re-encoded copy, and `found` is False.

The functions are pure: bytes in, bytes out, no state and no I/O, so any number may run in parallel in threads (OpenCV
and NumPy release the GIL in the long calls) or processes. They cannot be cancelled; the caller bounds their number.
On failure a ValueError says in one sentence what is wrong with the input.
"""

from __future__ import annotations

import cv2
import numpy as np
from attrs import frozen

from .detect import Detection, detect
from .edge_evidence import overlap, to_luma
from .headers import chroma_subsampling, image_info
from .inpaint import dilate, inpaint
from .pixels import VISIBLE, Grey, Pixels, decode, decode_mark, decode_mask, encode, encode_as
from .pixels import boxes_to_mask as boxes_to_mask
from .pixels import strokes_to_mask as strokes_to_mask
from .pixels import union as union
from .unblend import unblend


@frozen
class Restoration:
    """A restored image: format and size as given; identical bytes when nothing was found.

    `mask` is a PNG (8-bit grey, size of the image), white where something was removed, black elsewhere.
    """

    image: bytes
    mask: bytes
    found: bool


def restore(image: bytes, *, mask: bytes | None = None, mark: bytes | None = None) -> Restoration:
    """Remove the watermark: inpaint the white areas of the mask, undo the blend of a known mark (PNG with alpha).

    With both, the mark is undone where it lies under the mask, and the rest of the mask is inpainted. Pixels are
    processed as stored; the EXIF orientation is ignored and kept. CPU-bound: call it in a thread or a process.

    Raises ValueError, with a sentence to show, when the data is not a readable image, when the mask has another size
    or is white everywhere, and when the mark has no alpha channel.
    """
    _, width, height = image_info(image)
    white = None if mask is None else decode_mask(mask, width, height)
    known_mark = None if mark is None else decode_mark(mark)
    if known_mark is None and (white is None or not white.any()):
        return _unchanged(image)
    pixels = decode(image)
    detections = detect(to_luma(pixels), known_mark) if known_mark else ()
    removed = _remove(pixels, white, detections, chroma_subsampling(image))
    if not removed.any():
        return _unchanged(image)
    return Restoration(encode(pixels, image), encode_as(removed, "png"), found=True)


def _unchanged(image: bytes) -> Restoration:
    _, width, height = image_info(image)
    return Restoration(image, encode_as(np.zeros((height, width), np.uint8), "png"), found=False)


def plan_restoration(
    white: Grey | None, detections: tuple[Detection, ...], width: int, height: int
) -> tuple[tuple[Detection, ...], Grey, Grey]:
    """Return the detections to undo, the mask of the area they cover, and the mask of what to inpaint.

    Without a mask all detections count; with one, those under it, and the areas of the mask without a detection are
    inpainted. Width and height are those of the image, in pixels.
    """
    if white is None:
        return detections, _mark_area((height, width), detections), np.zeros((height, width), np.uint8)
    detections = tuple(detection for detection in detections if _lies_under(white, detection))
    marked = _mark_area((height, width), detections)
    return detections, marked, dilate(_outside_marks(white, marked))


def _remove(
    pixels: Pixels, white: Grey | None, detections: tuple[Detection, ...], subsampling: tuple[int, int] | None
) -> Grey:
    """Restore the pixels in place and return the mask of what was removed."""
    detections, marked, hole = plan_restoration(white, detections, pixels.shape[1], pixels.shape[0])
    for detection in detections:
        hole |= unblend(pixels, detection, subsampling)
    # last, so that inpainting copies from surroundings that are already without the mark
    if hole.any():
        inpaint(pixels, hole)
    return marked | hole


def _lies_under(white: Grey, detection: Detection) -> bool:
    """Whether half of the mark or more lies under the mask."""
    # masks are drawn tightly around the mark: two pixels of tolerance
    area, mark = overlap(dilate(white, 2), detection.mark, detection.x, detection.y)
    visible = mark.alpha > 0.02
    return bool(area[visible].mean() > 127) if visible.any() else False


def _mark_area(shape: tuple[int, int], detections: tuple[Detection, ...]) -> Grey:
    """Return the mask, of the given height and width, of the pixels that the detected marks changed."""
    marked = np.zeros(shape, np.uint8)
    for detection in detections:
        area, mark = overlap(marked, detection.mark, detection.x, detection.y)
        area[mark.alpha * detection.gain > VISIBLE] = 255
    return marked


def _outside_marks(white: Grey, marked: Grey) -> Grey:
    """Return the connected areas of the mask that touch no detected mark: these are left to inpainting."""
    if not marked.any():
        return white
    labels: Pixels = cv2.connectedComponents(white)[1]
    # a whole area counts as explained by a mark near it: people mask more than the mark itself
    explained = np.unique(labels[dilate(marked, 4) > 0])
    return np.where(np.isin(labels, explained), 0, white).astype(np.uint8)
