"""Pictures as arrays and back: decoding as stored, encoding as the input was, masks and marks among them."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from attrs import frozen

from .headers import animated, chroma_of, extras, lossless_webp, picture_format, picture_size, sampling, with_extras

# the names say uint8 or uint16, uint8, float32: OpenCV's stubs know no more than "integers or floats"
Pixels: TypeAlias = npt.NDArray[Any]
Grey: TypeAlias = npt.NDArray[Any]
Reals: TypeAlias = npt.NDArray[Any]

_SAMPLING = {
    (1, 1): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    (1, 2): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    (2, 1): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
}
# an opacity below this changes no 8-bit sample
VISIBLE = 1 / 512
_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION


@frozen
class Mark:
    """A logo to be undone: colour (height, width, 3; 0..255, BGR) and alpha (height, width; 0..1)."""

    colour: Reals
    alpha: Reals

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.alpha.shape[1], self.alpha.shape[0]

    def resize(self, width: int, height: int, way: int | None = None) -> Mark:
        """The mark at another size; colour is weighed by alpha, so that hidden pixels do not bleed in."""
        if (width, height) == self.size:
            return self
        if way is None:
            way = cv2.INTER_AREA if width < self.size[0] else cv2.INTER_CUBIC
        weighed = np.dstack([self.colour * self.alpha[..., None], self.alpha])
        scaled = cv2.resize(weighed, (width, height), interpolation=way)
        alpha = np.clip(scaled[..., 3], 0, 1)
        colour = np.clip(scaled[..., :3] / np.maximum(alpha, 1e-4)[..., None], 0, 255)
        return Mark(colour.astype(np.float32), alpha.astype(np.float32))

    def pad(self, margin: int) -> Mark:
        """The mark with a transparent margin (pixels) on each side."""
        around = (margin, margin, margin, margin)
        return Mark(
            cv2.copyMakeBorder(self.colour, *around, cv2.BORDER_REPLICATE),
            cv2.copyMakeBorder(self.alpha, *around, cv2.BORDER_CONSTANT),
        )

    def as_displayed(self) -> Mark:
        """The mark cut to what can be seen of it: the smallest box around alpha of a hundredth and more."""
        visible = self.alpha > 0.01
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        return self.cut(slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))

    def cut(self, rows: slice, columns: slice) -> Mark:
        """A part of the mark."""
        return Mark(self.colour[rows, columns], self.alpha[rows, columns])


def decode(data: bytes) -> Pixels:
    """The picture as stored: (height, width) or (height, width, 3 or 4), BGR(A), 8 or 16 bits.

    Raises ValueError when it is no picture, is broken, moves, or has samples of another kind.
    """
    name, width, height = picture_size(data)
    if animated(data):
        raise ValueError(f"An animated {name} cannot be restored: send its frames one by one, or a video.")
    pixels = _decoded(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"The {name} cannot be decoded: it is broken or of a kind that is not supported.")
    if pixels.shape[:2] != (height, width):
        raise ValueError(f"The {name} is broken: its header says {width}x{height}, its pixels are another size.")
    return pixels


def encode(pixels: Pixels, like: bytes) -> bytes:
    """The picture in the format of `like`, at high quality, with the chroma sampling and extras of that file."""
    name = picture_format(like) or "png"
    encoded = encode_as(pixels, name, _settings(name, like))
    return with_extras(encoded, extras(like)) if name == "jpeg" else encoded


def encode_as(pixels: Pixels, name: str, settings: list[int] | None = None) -> bytes:
    """The picture in the named format; JPEG at quality 95 without chroma subsampling unless told otherwise."""
    if settings is None:
        settings = _settings(name, b"")
    done, encoded = cv2.imencode(f".{name}", pixels, settings)
    if not done:
        raise ValueError(f"A picture of {pixels.shape} cannot be written as {name}.")
    return encoded.tobytes()


def decode_mask(mask: bytes, width: int, height: int) -> Grey:
    """A mask as 0 and 255; what is transparent counts as black.

    Raises ValueError when it is no picture or not of the size given (in pixels).
    """
    white = _white(mask)
    if white.shape != (height, width):
        raise ValueError(
            f"The mask is {white.shape[1]}x{white.shape[0]}, the picture {width}x{height}: give equal sizes."
        )
    return white


def decode_mark(mark: bytes) -> Mark:
    """A mark from a picture with an alpha channel.

    Raises ValueError when it is no picture, has no alpha channel or is transparent everywhere.
    """
    pixels = decode(mark)
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError("The mark has no alpha channel: give the logo as a PNG with a transparent background.")
    scaled = pixels.astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    if scaled[..., 3].max() <= 4:
        raise ValueError("The mark is transparent everywhere: there is nothing to look for.")
    return Mark(scaled[..., :3].copy(), scaled[..., 3] / 255)


def strokes_to_mask(smear: bytes) -> bytes:
    """The mask PNG for brush strokes in any colour but pure black or white (Kaze's way); noise of JPEG is tolerated.

    Raises ValueError when it is no picture.
    """
    pixels = _colours(smear).astype(np.int16)
    darkest, lightest = pixels.min(axis=2), pixels.max(axis=2)
    blurred = chroma_of(smear) is not None
    slack = 48 if blurred else 8
    coloured: Grey = np.where((lightest < slack) | (darkest > 255 - slack), 0, 255).astype(np.uint8)
    if blurred:
        # where black meets white JPEG leaves grey lines one pixel wide: no brush is that thin
        coloured = cv2.morphologyEx(coloured, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return encode_as(coloured, "png")


def union(a: bytes, b: bytes) -> bytes:
    """The mask PNG that is white where either of two masks is. Raises ValueError when they differ in size."""
    first, second = _white(a), _white(b)
    if first.shape != second.shape:
        sizes = " and ".join(f"{white.shape[1]}x{white.shape[0]}" for white in (first, second))
        raise ValueError(f"The masks are {sizes}: give equal sizes.")
    return encode_as(cv2.bitwise_or(first, second), "png")


def eight_bits(pixels: Pixels) -> Grey:
    """The same picture with 8 bits a sample."""
    return (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def _white(mask: bytes) -> Grey:
    pixels = eight_bits(decode(mask))
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)
    seen = grey > 127
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        seen &= pixels[..., 3] > 127
    return np.where(seen, 255, 0).astype(np.uint8)


def _colours(picture: bytes) -> Grey:
    pixels = eight_bits(decode(picture))
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 4:
        return np.where(pixels[..., 3:] > 127, pixels[..., :3], 0).astype(np.uint8)
    return pixels


def _decoded(data: bytes, flags: int) -> Pixels | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | _AS_STORED)
    except cv2.error:
        return None


def _settings(name: str, like: bytes) -> list[int]:
    if name == "jpeg":
        wanted = _SAMPLING.get(sampling(like), cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
        return [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, wanted]
    if name == "webp":
        return [cv2.IMWRITE_WEBP_QUALITY, 101 if lossless_webp(like) or not like else 95]
    return [cv2.IMWRITE_PNG_COMPRESSION, 3] if name == "png" else []
