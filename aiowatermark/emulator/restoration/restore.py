"""Marks removed from pictures: by inpainting under a mask, or by undoing the blend of a mark that is known."""

from __future__ import annotations

import cv2
import numpy as np
from attrs import frozen

from .detect import Detection, detect
from .edge_evidence import luma_of, overlap
from .headers import chroma_of, picture_size
from .inpaint import dilate, inpaint
from .pixels import VISIBLE, Grey, Pixels, decode, decode_mark, decode_mask, encode, encode_as
from .pixels import strokes_to_mask as strokes_to_mask
from .pixels import union as union
from .unblend import unblend


@frozen
class Restoration:
    """A picture restored: same format and size as the one given; identical bytes when nothing was found.

    The mask is a PNG (8-bit grey, size of the picture), white where something was removed, black elsewhere.
    """

    image: bytes
    mask: bytes
    found: bool


def restore(picture: bytes, *, mask: bytes | None = None, mark: bytes | None = None) -> Restoration:
    """The picture without its mark: white areas of the mask are inpainted, a known mark (PNG with alpha) is undone.

    With both, the mark is undone where it lies under the mask, and the rest of the mask inpainted. Pixels stay as
    stored, whatever EXIF says of turning. CPU-bound: call it in a thread or a process.

    Raises ValueError, with a sentence to show, for what is no picture, for a mask of another size or white
    everywhere, and for a mark without alpha.
    """
    _, width, height = picture_size(picture)
    white = None if mask is None else decode_mask(mask, width, height)
    logo = None if mark is None else decode_mark(mark)
    if logo is None and (white is None or not white.any()):
        return _unchanged(picture)
    pixels = decode(picture)
    hits = detect(luma_of(pixels), logo) if logo else ()
    removed = _remove(pixels, white, hits, chroma_of(picture))
    if not removed.any():
        return _unchanged(picture)
    return Restoration(encode(pixels, picture), encode_as(removed, "png"), found=True)


def _unchanged(picture: bytes) -> Restoration:
    _, width, height = picture_size(picture)
    return Restoration(picture, encode_as(np.zeros((height, width), np.uint8), "png"), found=False)


def plan_restoration(
    white: Grey | None, hits: tuple[Detection, ...], width: int, height: int
) -> tuple[tuple[Detection, ...], Grey, Grey]:
    """What to do: the hits to undo, the mask of these, and the mask of what is left to inpainting.

    Without a mask all hits count; with one, those under it, and inpainting gets what no hit accounts for.
    """
    if white is None:
        return hits, _mark_area((height, width), hits), np.zeros((height, width), np.uint8)
    hits = tuple(hit for hit in hits if _masked_part(white, hit))
    marked = _mark_area((height, width), hits)
    return hits, marked, dilate(_outside_marks(white, marked))


def _remove(pixels: Pixels, white: Grey | None, hits: tuple[Detection, ...], chroma: tuple[int, int] | None) -> Grey:
    """Restores the pixels in place; gives the mask of what was removed."""
    hits, marked, hole = plan_restoration(white, hits, pixels.shape[1], pixels.shape[0])
    for hit in hits:
        hole |= unblend(pixels, hit, chroma)
    if hole.any():
        inpaint(pixels, hole)
    return marked | hole


def _masked_part(white: Grey, hit: Detection) -> bool:
    """Whether half of the mark or more lies under the mask."""
    part, mark = overlap(dilate(white, 2), hit.mark, hit.x, hit.y)
    seen = mark.alpha > 0.02
    return bool(part[seen].mean() > 127) if seen.any() else False


def _mark_area(shape: tuple[int, int], hits: tuple[Detection, ...]) -> Grey:
    marked = np.zeros(shape, np.uint8)
    for hit in hits:
        part, mark = overlap(marked, hit.mark, hit.x, hit.y)
        part[mark.alpha * hit.gain > VISIBLE] = 255
    return marked


def _outside_marks(white: Grey, marked: Grey) -> Grey:
    """The areas of a mask that no known mark accounts for: these are left to inpainting."""
    if not marked.any():
        return white
    areas: Pixels = cv2.connectedComponents(white)[1]
    told = np.unique(areas[dilate(marked, 4) > 0])
    return np.where(np.isin(areas, told), 0, white).astype(np.uint8)
