"""Stroke mask: converts a black-and-white mask to the coloured brush strokes that Kaze calls a smear."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator

from attrs import define, field
from PIL import Image

from ..errors import InvalidInput
from .base import Media
from .memory import Bytes

_STROKE_COLOUR = (255, 0, 0)


@define(eq=False)
class StrokeMask(Media):
    """A mask as a PNG of the same size: red where the mask is white, black elsewhere. Drawn at the first reading."""

    mask: Media
    name: str = "smear.png"
    _drawn: Bytes | None = field(default=None, init=False, repr=False)

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """Length in bytes; None until `measure` was called."""
        return self._drawn.size if self._drawn else None

    @property
    def identity(self) -> str:
        """The identity of the original mask."""
        return self.mask.identity

    async def measure(self) -> None:
        """Draw the strokes in a worker thread; raises InvalidInput if the mask is not a readable image."""
        if self._drawn is None:
            data = b"".join([block async for block in self.mask.blocks()])
            self._drawn = Bytes(await asyncio.to_thread(draw_strokes, data), name=self.name)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the PNG."""
        await self.measure()
        if self._drawn is not None:
            async for block in self._drawn.blocks():
                yield block


def draw_strokes(mask: bytes) -> bytes:
    """Return a PNG that is red where the mask is light and black elsewhere.

    Raises InvalidInput if the mask is not a readable image.
    """
    try:
        with Image.open(io.BytesIO(mask)) as image:
            grey = _flatten(image)
    # SyntaxError: what Pillow raises for some damaged PNG files
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"the mask is not a readable image: {error}") from None
    # A palette image, so that the file stays small: levels 0 to 127 are black, 128 to 255 red. The levels are made 0 or
    # 255 first, because the strokes must have exactly two colours.
    strokes = grey.point([255 * (level > 127) for level in range(256)]).convert("P")
    strokes.putpalette([*(0, 0, 0) * 128, *_STROKE_COLOUR * 128])
    out = io.BytesIO()
    strokes.save(out, "PNG")
    return out.getvalue()


def _flatten(image: Image.Image) -> Image.Image:
    """Return grey levels over black: transparent areas are kept, as black ones are."""
    if image.mode in {"I", "I;16", "I;16B"}:
        # convert("L") would clip 16-bit levels to 255
        return image.point(lambda level: level / 256).convert("L")
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("L")
    background = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(background, image.convert("RGBA")).convert("L")
