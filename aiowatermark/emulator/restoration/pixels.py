"""Images as arrays: decoding as stored, encoding as the input was, and the masks and marks that come as images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from attrs import frozen

from .headers import (
    chroma_subsampling,
    image_format,
    image_info,
    is_animated,
    is_lossless_webp,
    jpeg_subsampling,
    metadata_segments,
    with_metadata,
)

# uint8 or uint16, uint8, and float32 in this order: OpenCV's stubs know only "integers or floats"
Pixels: TypeAlias = npt.NDArray[Any]
Grey: TypeAlias = npt.NDArray[Any]
Reals: TypeAlias = npt.NDArray[Any]

# an opacity below this changes no 8-bit sample
VISIBLE = 1 / 512

_SAMPLING_FACTORS = {
    (1, 1): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    (1, 2): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    (2, 1): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
}
_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION


@frozen
class Mark:
    """A logo to remove: colour (height, width, 3; 0..255, BGR) and alpha (height, width; 0..1)."""

    colour: Reals
    alpha: Reals

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.alpha.shape[1], self.alpha.shape[0]

    def resize(self, width: int, height: int, interpolation: int | None = None) -> Mark:
        """Return the mark at another size in pixels; `interpolation` is one of OpenCV's."""
        if (width, height) == self.size:
            return self
        if interpolation is None:
            interpolation = cv2.INTER_AREA if width < self.size[0] else cv2.INTER_CUBIC
        # colour is weighted by alpha, so that the colour of transparent pixels does not bleed in
        weighted = np.dstack([self.colour * self.alpha[..., None], self.alpha])
        scaled = cv2.resize(weighted, (width, height), interpolation=interpolation)
        alpha = np.clip(scaled[..., 3], 0, 1)
        colour = np.clip(scaled[..., :3] / np.maximum(alpha, 1e-4)[..., None], 0, 255)
        return Mark(colour.astype(np.float32), alpha.astype(np.float32))

    def pad(self, margin: int) -> Mark:
        """Return the mark with a transparent margin (pixels) on each side."""
        sides = (margin, margin, margin, margin)
        return Mark(
            cv2.copyMakeBorder(self.colour, *sides, cv2.BORDER_REPLICATE),
            cv2.copyMakeBorder(self.alpha, *sides, cv2.BORDER_CONSTANT),
        )

    def crop_to_visible(self) -> Mark:
        """Return the smallest box around all alpha above 0.01."""
        visible = self.alpha > 0.01
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        return self.crop(slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))

    def crop(self, rows: slice, columns: slice) -> Mark:
        """Return a part of the mark."""
        return Mark(self.colour[rows, columns], self.alpha[rows, columns])


def decode(data: bytes) -> Pixels:
    """Return the image as stored: (height, width) or (height, width, 3 or 4), BGR(A), 8 or 16 bits.

    Raises ValueError when the data is not an image, is broken, is animated, or has samples of another kind.
    """
    name, width, height = image_info(data)
    if is_animated(data):
        raise ValueError(f"An animated {name} cannot be restored: send its frames one by one, or a video.")
    pixels = _imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"The {name} cannot be decoded: it is broken or of a kind that is not supported.")
    if pixels.shape[:2] != (height, width):
        raise ValueError(f"The {name} is broken: its header says {width}x{height}, its pixels have another size.")
    return pixels


def encode(pixels: Pixels, like: bytes) -> bytes:
    """Return the image in the format of `like`, at high quality, with that file's chroma subsampling and metadata."""
    name = image_format(like) or "png"
    encoded = encode_as(pixels, name, _encoder_settings(name, like))
    return with_metadata(encoded, metadata_segments(like)) if name == "jpeg" else encoded


def encode_as(pixels: Pixels, name: str, settings: list[int] | None = None) -> bytes:
    """Return the image in the named format; without settings, JPEG has quality 95 and full chroma resolution."""
    if settings is None:
        settings = _encoder_settings(name, b"")
    done, encoded = cv2.imencode(f".{name}", pixels, settings)
    if not done:
        raise ValueError(f"An image of shape {pixels.shape} cannot be encoded as {name}.")
    return encoded.tobytes()


def decode_mask(mask: bytes, width: int, height: int) -> Grey:
    """Return a mask as 0 and 255; transparent pixels count as black.

    Raises ValueError when it is not an image or not of the given size (in pixels).
    """
    white = _read_mask(mask)
    if white.shape != (height, width):
        raise ValueError(
            f"The mask is {white.shape[1]}x{white.shape[0]} pixels, the image {width}x{height}: "
            "both must have the same size."
        )
    return white


def decode_mark(mark: bytes) -> Mark:
    """Return a mark from an image with an alpha channel.

    Raises ValueError when it is not an image, has no alpha channel or is transparent everywhere.
    """
    pixels = decode(mark)
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError("The mark has no alpha channel: give the logo as a PNG with a transparent background.")
    scaled = pixels.astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    if scaled[..., 3].max() <= 4:
        raise ValueError("The mark is transparent everywhere: there is nothing to search for.")
    return Mark(scaled[..., :3].copy(), scaled[..., 3] / 255)


def strokes_to_mask(smear: bytes) -> bytes:
    """Return the mask PNG for brush strokes in any colour but pure black or white, the form that Kaze takes.

    Noise of JPEG is tolerated. Raises ValueError when `smear` is not an image.
    """
    pixels = _read_colours(smear).astype(np.int16)
    darkest, lightest = pixels.min(axis=2), pixels.max(axis=2)
    lossy = chroma_subsampling(smear) is not None
    tolerance = 48 if lossy else 8
    coloured: Grey = np.where((lightest < tolerance) | (darkest > 255 - tolerance), 0, 255).astype(np.uint8)
    if lossy:
        # where black meets white JPEG leaves grey lines one pixel wide, thinner than any brush
        coloured = cv2.morphologyEx(coloured, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return encode_as(coloured, "png")


def boxes_to_mask(width: int, height: int, boxes: Iterable[tuple[int, int, int, int]]) -> bytes:
    """Return the mask PNG of this size that is white inside the boxes, each x, y, width and height."""
    white = np.zeros((height, width), np.uint8)
    for x, y, box_width, box_height in boxes:
        white[y : y + box_height, x : x + box_width] = 255
    return encode_as(white, "png")


def union(a: bytes, b: bytes) -> bytes:
    """Return the mask PNG that is white where either of two masks is. Raises ValueError when their sizes differ."""
    first, second = _read_mask(a), _read_mask(b)
    if first.shape != second.shape:
        sizes = " and ".join(f"{white.shape[1]}x{white.shape[0]}" for white in (first, second))
        raise ValueError(f"The masks are {sizes} pixels: both must have the same size.")
    return encode_as(cv2.bitwise_or(first, second), "png")


def to_eight_bits(pixels: Pixels) -> Grey:
    """Return the image with 8 bits per sample."""
    return (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def _read_mask(mask: bytes) -> Grey:
    pixels = to_eight_bits(decode(mask))
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)
    white = grey > 127
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        white &= pixels[..., 3] > 127
    return np.where(white, 255, 0).astype(np.uint8)


def _read_colours(image: bytes) -> Grey:
    """Return an image as 8-bit BGR; transparent pixels are black."""
    pixels = to_eight_bits(decode(image))
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    if pixels.shape[2] == 4:
        return np.where(pixels[..., 3:] > 127, pixels[..., :3], 0).astype(np.uint8)
    return pixels


def _imdecode(data: bytes, flags: int) -> Pixels | None:
    # OpenCV returns None for some broken files and raises for others
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | _AS_STORED)
    except cv2.error:
        return None


def _encoder_settings(name: str, like: bytes) -> list[int]:
    """Return OpenCV's settings for a format, with the chroma subsampling or losslessness of the file `like`."""
    if name == "jpeg":
        factor = _SAMPLING_FACTORS.get(jpeg_subsampling(like), cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
        return [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    if name == "webp":
        # above 100 OpenCV writes WebP without loss
        return [cv2.IMWRITE_WEBP_QUALITY, 101 if is_lossless_webp(like) or not like else 95]
    return [cv2.IMWRITE_PNG_COMPRESSION, 3] if name == "png" else []
