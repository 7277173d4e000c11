"""Image limits: the formats, sizes and aspect ratios that each provider's documents allow, and why a job fails."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Collection
from enum import Enum

from attrs import field, frozen

from ..restoration.headers import image_info

# what reading a damaged header can raise
_HEADER_ERRORS = (ValueError, struct.error, IndexError, KeyError, OverflowError)


class FailureKind(Enum):
    """Why an accepted job fails; each API maps these to its own states."""

    LINK = "could not be downloaded"
    SIZE = "too large"
    IMAGE = "invalid image"
    INTERNAL = "internal"


class JobFailure(Exception):
    """The failure of a job, or of one image of it; `state` is the provider's own state if a fault sets one."""

    def __init__(self, kind: FailureKind, reason: str, state: str | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.state = state


@frozen
class ImageInfo:
    """The bytes of an image, its format, and its size in pixels."""

    data: bytes = field(repr=False)
    format: str
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height."""
        return self.width, self.height


@frozen
class ImageRules:
    """The images that a provider's documents allow: formats, sides in pixels, aspect ratio, size in bytes.

    All bounds are inclusive.
    """

    formats: Collection[str] = ("jpeg", "png", "bmp", "webp")
    min_side: int = 1
    max_side: int = 100_000
    max_aspect: float = float("inf")
    max_bytes: int = 50 * 1024 * 1024

    def check(self, data: bytes) -> ImageInfo:
        """Return the image. Raises JobFailure when the bytes are not a valid image or exceed a limit."""
        # first, so that a large file that is not an image fails as an invalid image
        image = inspect_image(data)
        if len(data) > self.max_bytes:
            raise JobFailure(FailureKind.SIZE, f"The image has more than {self.max_bytes} bytes.")
        if violation := self._violation(image):
            raise JobFailure(FailureKind.IMAGE, violation)
        return image

    def _violation(self, image: ImageInfo) -> str | None:
        low, high = sorted(image.size)
        if image.format not in self.formats:
            return f"The format {image.format} is not one of {', '.join(self.formats)}."
        if low < self.min_side or high > self.max_side:
            return f"{image.width} x {image.height} is not within {self.min_side} to {self.max_side} pixels."
        if high > self.max_aspect * low:
            return f"{image.width} x {image.height} is longer than {self.max_aspect:g}:1."
        return None


def inspect_image(data: bytes) -> ImageInfo:
    """Return the format and the size from the header. Raises JobFailure when it is not a valid image header."""
    try:
        return ImageInfo(data, *image_info(data))
    except _HEADER_ERRORS:
        raise JobFailure(FailureKind.IMAGE, "The bytes are not a valid image.") from None


def check_mask(image: ImageInfo, data: bytes) -> None:
    """Raise JobFailure unless the mask is an image of the same size."""
    mask = inspect_image(data)
    if mask.size != image.size:
        mask_size, image_size = f"{mask.width} x {mask.height}", f"{image.width} x {image.height}"
        raise JobFailure(FailureKind.IMAGE, f"The mask has {mask_size} pixels and the image {image_size}.")


def check_boxes(image: ImageInfo, boxes: Collection[tuple[int, int, int, int]]) -> None:
    """Raise JobFailure unless all boxes (x, y, width, height) are inside the image."""
    for x, y, width, height in boxes:
        if x + width > image.width or y + height > image.height:
            raise JobFailure(FailureKind.IMAGE, f"The box {x}, {y}, {width}, {height} is not inside the image.")


def decode_base64(text: str) -> bytes:
    """Return the bytes of plain base64, without a `data:` header. Raises JobFailure."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise JobFailure(FailureKind.IMAGE, "This is not base64 without a header.") from None
