"""Which pictures a provider takes: formats, sizes in pixels and bytes, aspect; what its documents refuse is refused."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Collection
from enum import Enum

from attrs import field, frozen

from ..restoration.headers import picture_size

_BROKEN = (ValueError, struct.error, IndexError, KeyError, OverflowError)


class FailureKind(Enum):
    """Why a job that was accepted fails; each API has its own table from these to its states."""

    LINK = "could not be downloaded"
    SIZE = "too large"
    PICTURE = "no such picture"
    INTERNAL = "internal"


class JobFailure(Exception):
    """A job, or one picture of it, that failed; `state` is the provider's own word where a fault chose one."""

    def __init__(self, trouble: FailureKind, reason: str, state: str | None = None) -> None:
        super().__init__(reason)
        self.kind = trouble
        self.reason = reason
        self.state = state


@frozen
class ImageInfo:
    """Bytes that are a picture, its format, and its size in pixels."""

    data: bytes = field(repr=False)
    format: str
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


@frozen
class ImageRules:
    """What the documents say of the pictures taken; the bounds are allowed themselves."""

    formats: Collection[str] = ("jpeg", "png", "bmp", "webp")
    min_side: int = 1
    max_side: int = 100_000
    max_aspect: float = float("inf")
    max_bytes: int = 50 * 1024 * 1024

    def check(self, data: bytes) -> ImageInfo:
        """The picture, when it is one and within the limits. Raises Failure."""
        picture = examine(data)
        if len(data) > self.max_bytes:
            raise JobFailure(FailureKind.SIZE, f"The picture has more than {self.max_bytes} bytes.")
        if reason := self._reason(picture):
            raise JobFailure(FailureKind.PICTURE, reason)
        return picture

    def _reason(self, picture: ImageInfo) -> str | None:
        low, high = sorted(picture.size)
        if picture.format not in self.formats:
            return f"The format {picture.format} is not among {', '.join(self.formats)}."
        if low < self.min_side or high > self.max_side:
            return f"{picture.width} x {picture.height} is not within {self.min_side} to {self.max_side} pixels."
        if high > self.max_aspect * low:
            return f"{picture.width} x {picture.height} is longer than {self.max_aspect:g}:1."
        return None


def examine(data: bytes) -> ImageInfo:
    """What the bytes say they are. Raises Failure when they are no picture."""
    try:
        return ImageInfo(data, *picture_size(data))
    except _BROKEN:
        raise JobFailure(FailureKind.PICTURE, "The bytes are no picture.") from None


def check_mask(picture: ImageInfo, data: bytes) -> None:
    """Raises Failure unless the mask is a picture of the same size."""
    mask = examine(data)
    if mask.size != picture.size:
        size, wanted = f"{mask.width} x {mask.height}", f"{picture.width} x {picture.height}"
        raise JobFailure(FailureKind.PICTURE, f"The mask has {size} pixels and the picture {wanted}.")


def from_base64(text: str) -> bytes:
    """The bytes of plain base64, without a `data:` header. Raises Failure."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise JobFailure(FailureKind.PICTURE, "This is not base64 without a header.") from None
