"""Stroke mask: converts a black-and-white mask to the coloured brush strokes that Kaze calls a smear."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator

from attrs import define, field

from ...clock import in_thread
from ...errors import InvalidInput
from ..base import Media
from ..memory import Bytes
from .black_and_white import binary_levels, open_mask

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
            self._drawn = Bytes(await in_thread(draw_strokes, data), name=self.name)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the PNG."""
        await self.measure()
        if self._drawn is not None:
            async for block in self._drawn.blocks():
                yield block


def draw_strokes(mask: bytes) -> bytes:
    """Return a PNG that is red where the mask is white and black elsewhere.

    Raises InvalidInput if the mask is not a readable image, or can do nothing; see `black_and_white.py`.
    """
    levels = binary_levels(open_mask(mask))
    # a palette image, so that the file stays small: level 0 is black, level 255 red
    strokes = levels.convert("P")
    strokes.putpalette([*(0, 0, 0) * 128, *_STROKE_COLOUR * 128])
    out = io.BytesIO()
    strokes.save(out, "PNG")
    return out.getvalue()


def check_strokes(smear: bytes) -> None:
    """Raise InvalidInput if an image in Kaze's own colours marks nothing: all of it is pure black or pure white."""
    colours = open_mask(smear).convert("RGB").getcolors(2)  # None: more than two
    if colours is not None and all(colour in {(0, 0, 0), (255, 255, 255)} for _, colour in colours):
        raise InvalidInput("the smear marks nothing: paint it in any colour except pure black and pure white")
