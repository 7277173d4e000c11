"""Pixels of restored images and videos, and how close they are to their originals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np

from aiowatermark.emulator.restoration.pixels import Pixels, decode


def read_frames(path: Path) -> Iterator[Pixels]:
    """Yield the frames of a video as BGR pixels."""
    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24")


def read_times(path: Path) -> list[float]:
    """Return the presentation times of the frames of a video, in seconds."""
    with av.open(path) as container:
        return [frame.time or 0.0 for frame in container.decode(video=0)]


def image_psnr(mask: bytes, original: bytes, image: bytes) -> float:
    """Return the PSNR in dB of an image, under the mask only."""
    return _psnr(mask, [(decode(original), decode(image))])


def video_psnr(mask: bytes, original: Path, video: Path) -> float:
    """Return the PSNR in dB of a video over all its frames, under the mask only; both have as many frames."""
    return _psnr(mask, zip(read_frames(original), read_frames(video), strict=True))


def to_16_bits(pixels: Pixels) -> Pixels:
    """Return the same image with 16 bits per sample."""
    return pixels.astype(np.uint16) * 257


def _psnr(mask: bytes, pairs: Iterable[tuple[Pixels, Pixels]]) -> float:
    white = decode(mask) > 0
    errors = [np.mean((original[white].astype(float) - other[white]) ** 2) for original, other in pairs]
    # equal images have an error of 0, of which there is no logarithm
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean(errors)))))
