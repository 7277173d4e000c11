"""Pixels as media: arrays and PIL images, encoded as a file in a worker thread when the client first needs it.

NumPy is not imported: an array is what has `__array_interface__`, as NumPy defines it.
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Mapping
from threading import Lock
from typing import Any, Protocol

from attrs import define, field
from PIL import Image

from ..clock import in_thread
from ..errors import InvalidInput
from .base import BLOCK_SIZE, Media, safe_name
from .memory import Bytes

# what is passed to PIL: level 1 takes 0.8 s for a photo of 12 megapixels, the default 3.7 s for a fifth fewer bytes
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "png": {"compress_level": 1},
    "jpeg": {"quality": 95, "subsampling": 0},
}
_MODES: Mapping[str, frozenset[str]] = {
    "png": frozenset({"1", "L", "LA", "P", "RGB", "RGBA"}),
    "jpeg": frozenset({"1", "L", "RGB"}),
}
# PIL images are not safe to be used by two threads, and two media may have the same one; it also bounds the memory
_ENCODING = Lock()


class Pixels(Protocol):
    """What `image` accepts: NumPy's arrays, and whatever else has their interface, such as PIL images."""

    @property
    def __array_interface__(self) -> Any:
        """The description of the array in memory that NumPy documents."""
        ...


def image(pixels: Pixels, *, format: str = "png", name: str | None = None) -> Media:  # noqa: A002 - PIL's word
    """Return media for pixels that are in memory: a NumPy array or a PIL image, as an image, a mask or a brush.

    They are encoded when the client needs the bytes, in a worker thread, once for all attempts and jobs that use this
    media; do not change them before. Pixels are sent as they are: the EXIF orientation of a PIL image is not applied.

    Args:
        pixels: an array of height x width (grey), height x width x 3 (red, green, blue) or height x width x 4 (with
            alpha) of `uint8`, or height x width of `bool`, True where a mask is white; or a PIL image. Arrays of
            OpenCV are in the order blue, green, red: `array[..., ::-1]`.
        format: "png", which loses nothing, or "jpeg" in quality 95, which Dewatermark requires and which has no alpha.
        name: the file name sent to the provider; image.png or image.jpeg by default.

    Raises InvalidInput for other objects, types, shapes and formats. Needs no extra: an array comes with NumPy.
    """
    if format not in _SETTINGS:
        raise InvalidInput(f'format must be "png" or "jpeg", not {format!r:.50}')
    mode = _pil_mode(pixels) if _is_pil_image(pixels) else _array_mode(pixels)
    if mode not in _MODES[format]:
        raise InvalidInput(
            f"{format} has no pixels of mode {mode}: pass image.convert('RGB'), or an array without alpha"
        )
    return EncodedPixels(pixels, format, safe_name(name or f"image.{format}"))


def _is_pil_image(pixels: object) -> bool:
    return isinstance(pixels, Image.Image)


def _pil_mode(pixels: Any) -> str:
    if not pixels.width or not pixels.height:
        raise InvalidInput(f"the PIL image has no pixels: its size is {pixels.width}x{pixels.height}")
    return str(pixels.mode)


def _array_mode(pixels: object) -> str:
    """Return PIL's mode of an array; raises InvalidInput unless it has one."""
    interface = getattr(pixels, "__array_interface__", None)
    if not isinstance(interface, Mapping):
        raise InvalidInput(f"image() takes a NumPy array or a PIL image, not {type(pixels).__name__}")
    kind, shape = interface.get("typestr"), tuple(interface.get("shape", ()))
    if kind not in {"|u1", "|b1"}:
        raise InvalidInput(
            f"an array of pixels must be uint8 from 0 to 255, or bool for a mask, not "
            f"{getattr(pixels, 'dtype', kind)}: scale it, and pass array.astype('uint8')"
        )
    modes = {(2, ()): "L", (3, (3,)): "RGB", (3, (4,)): "RGBA"} if kind == "|u1" else {(2, ()): "1"}
    mode = modes.get((len(shape), shape[2:]))
    if mode is None or 0 in shape:
        raise InvalidInput(
            "an array of pixels must be height x width, or height x width x 3 or 4 of uint8, and not empty, "
            f"unlike {getattr(pixels, 'dtype', kind)} of shape {shape!r:.100}"
        )
    return mode


@define(eq=False)
class EncodedPixels(Media):
    """Pixels that become a file in memory when they are first measured or read."""

    pixels_source: Any = field(repr=False)
    format: str
    name: str
    reopenable = True
    _file: Bytes | None = field(default=None, init=False, repr=False)

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """Bytes of the encoded file, None before it is encoded."""
        return None if self._file is None else self._file.size

    @property
    def identity(self) -> str:
        """The name and size; the content is hashed for jobs with a key only."""
        return f"{self.name}:{self.size}"

    async def measure(self) -> None:
        """Encode the pixels; raises InvalidInput if they cannot be."""
        await self._encoded()

    async def hash_content(self) -> None:
        """Set `digest`."""
        file = await self._encoded()
        await file.hash_content()
        self.digest = file.digest

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the encoded file in chunks."""
        async for block in (await self._encoded()).blocks():
            yield block

    async def buffers(self, buffer_bytes: int = BLOCK_SIZE) -> AsyncGenerator[bytes | memoryview, None]:  # noqa: ARG002
        """Yield the encoded file as one block, which needs no copy."""
        yield (await self._encoded()).data

    async def _encoded(self) -> Bytes:
        if self._file is None:
            return await in_thread(self._encode_once)
        return self._file

    def _encode_once(self) -> Bytes:
        with _ENCODING:
            file = self._file or Bytes(_encode(self.pixels_source, self.format), self.name)
            # the file is all that is needed from now on
            self._file, self.pixels_source = file, None
            return file


def _encode(pixels: Any, format: str) -> bytes:  # noqa: A002
    out = io.BytesIO()
    try:
        picture = pixels if _is_pil_image(pixels) else Image.fromarray(pixels)
        picture.save(out, format.upper(), **_SETTINGS[format])
    except Exception as error:
        raise InvalidInput(f"the pixels cannot be encoded as {format}: {error}") from error
    return out.getvalue()
