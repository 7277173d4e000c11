"""Thumbnails: small pictures as data URIs, of files from unknown sources."""

from __future__ import annotations

from base64 import b64encode
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from threading import Lock

import imagesize
from attrs import frozen
from PIL import Image, ImageOps

SIDE = 640
"""Pixels of the longer side at most."""
MAX_BYTES = 100_000
_MAX_PIXELS = 89_000_000
"""Above, Pillow warns of a decompression bomb."""
_LARGE_PIXELS = 16_000_000
_large = Lock()
"""Held while a large picture is in memory: of several threads one at a time."""
# no EPS, for which Pillow starts Ghostscript
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_QUALITIES = (78, 60, 40, 20)


@frozen
class Thumbnail:
    """A small picture as a data URI; without one, `reason` says why."""

    uri: str = ""
    reason: str = ""


def make_thumbnail(path: Path) -> Thumbnail:
    """Return a thumbnail of a file. Raises nothing: what cannot be shown has a reason instead."""
    try:
        # opening a FIFO would wait for its other end
        if not path.is_file():
            return Thumbnail(reason="there is no such file")
        width, height = imagesize.get(path)
        if width * height > _MAX_PIXELS:
            return Thumbnail(reason=f"too large to show: {width}x{height} pixels")
        with _large if width * height > _LARGE_PIXELS else nullcontext(), Image.open(path, formats=_FORMATS) as image:
            data = _encode(_shrink(image))
    # files of strangers: each decoder has errors of its own
    except Exception:  # noqa: BLE001
        return Thumbnail(reason="this file cannot be shown as a picture")
    return Thumbnail(f"data:image/jpeg;base64,{b64encode(data).decode()}")


def _shrink(image: Image.Image) -> Image.Image:
    """Return the picture as it is meant to be seen, small, in RGB, transparent parts white."""
    image.draft("RGB", (SIDE, SIDE))  # lets the JPEG decoder skip what is not needed
    if image.mode.startswith("I"):  # 16 bits
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    image.thumbnail((SIDE, SIDE))
    image = ImageOps.exif_transpose(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _encode(image: Image.Image) -> bytes:
    """Return a JPEG of at most MAX_BYTES, or the smallest that can be made."""
    data = b""
    for quality in _QUALITIES:
        target = BytesIO()
        image.save(target, "JPEG", quality=quality)
        data = target.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return data
