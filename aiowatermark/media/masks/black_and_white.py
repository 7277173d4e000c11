"""Masks: turns what callers pass as a mask into black and white, or says why it can do nothing.

    understood                                             converted to
    white on black, in any format and depth                white where it is at least half as bright as white
    two levels, the lower one black (0 and 1, black, red)  white where it is not black
    white on transparent                                   white where it is white
    a transparent hole in something opaque                 white where the hole is, if it covers at most half of it

    refused, because nothing or everything would be removed, or it is unclear what: a mask without white, a white mask,
    and a mask of which more than a fifth is neither black nor white, as it is in a photograph

A mask is decoded in a worker thread, and only if its header announces few enough pixels: a PNG of 640 KiB may hold
170 million of them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from threading import Semaphore

from PIL import Image, ImageChops

from ...errors import InvalidInput
from ..base import SNIFF_BYTES
from ..sniff import sniff

MAX_MASK_PIXELS = 40_000_000
"""More than any provider accepts: 6000 x 6000."""
_MANY_PIXELS, _LARGE_MASKS = 4_000_000, Semaphore(2)
"""How many masks with more pixels are converted at once in this process: each may take some 300 MB for a moment."""
_MAX_CACHED_BYTES = 1 << 20
_MAX_DARK, _MIN_LIGHT = 16, 239
"""Levels up to here are black, and from here on white, but for compression and smooth edges."""
_MAX_UNCLEAR = 0.2
_MAX_HOLE = 0.5
# the decoders of Pillow that a mask may need
_DECODERS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "DIB", "MPO")


def convert_mask(data: bytes) -> bytes:
    """Return a mask as a PNG in black and white; one that is such a PNG is returned as it is. Blocks.

    Raises InvalidInput for a mask that cannot be read or can do nothing.
    """
    return _convert_cached(data) if len(data) <= _MAX_CACHED_BYTES else _convert(data)


def _convert(data: bytes) -> bytes:
    with _LARGE_MASKS if _pixel_count(data) > _MANY_PIXELS else nullcontext():
        return _convert_now(data)


def _pixel_count(data: bytes) -> int:
    width, height = sniff(data[:SNIFF_BYTES]).size
    return width * height


def _convert_now(data: bytes) -> bytes:
    image = open_mask(data)
    levels = binary_levels(image)
    if image.format == "PNG" and image.mode in {"L", "RGB"} and _equal(image.convert("L"), levels):
        return data
    out = io.BytesIO()
    levels.save(out, "PNG")
    return out.getvalue()


_convert_cached = lru_cache(maxsize=8)(_convert)
"""One mask often belongs to all images of a batch."""


def open_mask(data: bytes) -> Image.Image:
    """Return a decoded image; raises InvalidInput if it is none, or has too many pixels."""
    check_pixels(*sniff(data[:SNIFF_BYTES]).size)
    try:
        with Image.open(io.BytesIO(data), formats=_DECODERS) as image:
            check_pixels(*image.size)
            image.load()
            return image
    except InvalidInput:
        raise
    except Exception as error:  # noqa: BLE001 - damaged images raise errors of many types
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> InvalidInput:
    return InvalidInput(f"the mask is not a readable image: {str(error)[:200] or type(error).__name__}")


def check_pixels(width: int, height: int) -> None:
    if width * height > MAX_MASK_PIXELS:
        raise InvalidInput(
            f"the mask has {width}x{height} pixels, more than {MAX_MASK_PIXELS // 1_000_000} million: no provider "
            "accepts an image of that size"
        )


def binary_levels(image: Image.Image) -> Image.Image:
    """Return the mask in mode L: 255 where something must be removed, 0 elsewhere.

    Raises InvalidInput if it is not understood, or if that is nowhere or everywhere.
    """
    try:
        if "A" not in image.getbands() and "transparency" not in image.info:
            return _split(_grey(image))
        return _split_transparent(image)
    except InvalidInput:
        raise
    except ValueError as error:  # a mode that Pillow cannot convert
        raise _unreadable(error) from None


def _split_transparent(image: Image.Image) -> Image.Image:
    """Return what is white over black, or else the hole."""
    if image.mode not in {"LA", "RGBA"}:
        image = image.convert("RGBA")
    alpha = image.getchannel("A")
    try:
        return _split(ImageChops.multiply(image.convert("L"), alpha))
    except InvalidInput:
        hole = alpha.point([255 * (level < 128) for level in range(256)])
        if 0 < _share(hole.histogram()[128:], hole) <= _MAX_HOLE:
            return hole
        raise


def _grey(image: Image.Image) -> Image.Image:
    """Return an opaque image as 8-bit levels."""
    if image.mode not in {"F", "I"} and not image.mode.startswith("I;16"):
        return image.convert("L")
    highest = max(float(value) for value in image.getextrema() if isinstance(value, int | float))
    # fractions, levels of 8 bits in more bits, levels of 16 bits: convert("L") would only clip them to 255
    scale = 255.0 if image.mode == "F" and highest <= 1 else 1.0 if highest <= 255 else 1 / 256
    return image.point(lambda level: level * scale + 0).convert("L")


def _split(levels: Image.Image) -> Image.Image:
    """Return levels as 0 and 255; raises InvalidInput if that says nothing."""
    counts = levels.histogram()
    used = [level for level, count in enumerate(counts) if count]
    threshold = 128
    if len(used) == 2 and used[0] <= _MAX_DARK:
        threshold = used[1]
    elif (unclear := _share(counts[_MAX_DARK + 1 : _MIN_LIGHT], levels)) > _MAX_UNCLEAR:
        raise InvalidInput(
            f"{unclear * 100:.0f} % of this mask is neither black nor white: pass an image that is white where "
            "something must be removed, and black elsewhere"
        )
    white = _share(counts[threshold:], levels)
    if not white:
        raise InvalidInput("the mask is black everywhere: it must be white where something must be removed")
    if white == 1:
        raise InvalidInput("the mask is white everywhere: it must be black where the image must be kept")
    return levels.point([255 * (level >= threshold) for level in range(256)])


def _share(counts: Sequence[int], image: Image.Image) -> float:
    return sum(counts) / (image.width * image.height)


def _equal(image: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(image, other).getbbox() is None
