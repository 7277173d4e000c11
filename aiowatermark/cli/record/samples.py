"""Sample media: a generated photograph with a text on it, its mask, and what a user gave in its place."""

from __future__ import annotations

import io
from pathlib import Path

from attrs import frozen
from PIL import Image, ImageDraw

from ... import InvalidInput, as_media
from ...media.base import Media
from ...media.memory import Bytes
from ...media.sniff import sniff

WIDTH, HEIGHT = 640, 480
BROKEN_URL = "https://no-such-host.invalid/image.jpg"
"""Leads nowhere: the name is reserved (RFC 2606)."""
_BOX = (180, 350, 460, 400)
_TEXT = "aiowatermark sample"


@frozen
class MediaChoice:
    """What the user gave: paths of an image, a mask and a video, and URLs of images; a sample replaces what is missing.

    All media get names of their own, so that no name of a user's file is sent or recorded.
    """

    file: Path | None = None
    mask: Path | None = None
    video: Path | None = None
    urls: tuple[str, ...] = ()

    def image(self) -> Media:
        """Return the image."""
        return as_media(self.file, name="image.jpg") if self.file else Bytes(sample_photo(), name="image.jpg")

    def mask_image(self, name: str = "mask.png") -> Media:
        """Return the mask, for the user's image of the size of that one; raises InvalidInput if it cannot be read."""
        if self.mask is not None:
            return as_media(self.mask, name=name)
        width, height = WIDTH, HEIGHT
        if self.file is not None:
            width, height = _read_size(self.file)
        return Bytes(sample_mask(width, height), name=name)


def _read_size(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            info = sniff(file.read(1 << 16))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    return info.size if info.width else (WIDTH, HEIGHT)


def sample_photo() -> bytes:
    """Return a JPEG of 640 x 480 pixels: a gradient with a text on it."""
    image = Image.merge(
        "RGB", [Image.linear_gradient("L").rotate(turn).resize((WIDTH, HEIGHT)) for turn in (0, 90, 180)]
    )
    draw = ImageDraw.Draw(image)
    draw.ellipse((380, 60, 560, 240), fill=(250, 230, 160))
    draw.text(_BOX[:2], _TEXT, fill=(255, 255, 255), font_size=28)
    return _encode(image, "JPEG")


def sample_mask(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return a mask of that size, as a PNG: white where the text of the sample is, black elsewhere."""
    mask = Image.new("L", (width, height))
    left, top, right, bottom = _BOX
    box = (left * width // WIDTH, top * height // HEIGHT, right * width // WIDTH, bottom * height // HEIGHT)
    mask.paste(255, box)
    return _encode(mask, "PNG")


def _encode(image: Image.Image, kind: str) -> bytes:
    data = io.BytesIO()
    image.save(data, kind)
    return data.getvalue()
