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


class Trouble(Enum):
    """Why a job that was accepted fails; each API has its own table from these to its states."""

    LINK = "could not be downloaded"
    SIZE = "too large"
    PICTURE = "no such picture"
    INTERNAL = "internal"


class Failure(Exception):
    """A job, or one picture of it, that failed; `state` is the provider's own word where a fault chose one."""

    def __init__(self, trouble: Trouble, reason: str, state: str | None = None) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.reason = reason
        self.state = state


@frozen
class Picture:
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
class Limits:
    """What the documents say of the pictures taken; the bounds are allowed themselves."""

    formats: Collection[str] = ("jpeg", "png", "bmp", "webp")
    shortest: int = 1
    longest: int = 100_000
    aspect: float = float("inf")
    most: int = 50 * 1024 * 1024

    def check(self, data: bytes) -> Picture:
        """The picture, when it is one and within the limits. Raises Failure."""
        picture = examine(data)
        if len(data) > self.most:
            raise Failure(Trouble.SIZE, f"The picture has more than {self.most} bytes.")
        if reason := self._reason(picture):
            raise Failure(Trouble.PICTURE, reason)
        return picture

    def _reason(self, picture: Picture) -> str | None:
        low, high = sorted(picture.size)
        if picture.format not in self.formats:
            return f"The format {picture.format} is not among {', '.join(self.formats)}."
        if low < self.shortest or high > self.longest:
            return f"{picture.width} x {picture.height} is not within {self.shortest} to {self.longest} pixels."
        if high > self.aspect * low:
            return f"{picture.width} x {picture.height} is longer than {self.aspect:g}:1."
        return None


def examine(data: bytes) -> Picture:
    """What the bytes say they are. Raises Failure when they are no picture."""
    try:
        return Picture(data, *picture_size(data))
    except _BROKEN:
        raise Failure(Trouble.PICTURE, "The bytes are no picture.") from None


def check_mask(picture: Picture, data: bytes) -> None:
    """Raises Failure unless the mask is a picture of the same size."""
    mask = examine(data)
    if mask.size != picture.size:
        size, wanted = f"{mask.width} x {mask.height}", f"{picture.width} x {picture.height}"
        raise Failure(Trouble.PICTURE, f"The mask has {size} pixels and the picture {wanted}.")


def from_base64(text: str) -> bytes:
    """The bytes of plain base64, without a `data:` header. Raises Failure."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Failure(Trouble.PICTURE, "This is not base64 without a header.") from None
