"""A black-and-white mask as a coloured smear: the convention of a provider that wants brush strokes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator

from attrs import define, field
from PIL import Image

from ..errors import InvalidInput
from .base import Media
from .memory import Bytes

_STROKE = (255, 0, 0)


@define(eq=False)
class StrokeMask(Media):
    """A mask painted anew when it is read: red where the mask is white, pure black elsewhere; PNG, same size."""

    mask: Media
    name: str = "smear.png"
    _painted: Bytes | None = field(default=None, init=False, repr=False)

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """Length in bytes, once it was measured."""
        return self._painted.size if self._painted else None

    @property
    def identity(self) -> str:
        """The mask's own."""
        return self.mask.identity

    async def measure(self) -> None:
        """Paint it, in a worker thread."""
        if self._painted is None:
            data = b"".join([block async for block in self.mask.blocks()])
            self._painted = Bytes(await asyncio.to_thread(draw_strokes, data), name=self.name)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The painted mask."""
        await self.measure()
        if self._painted is not None:
            async for block in self._painted.blocks():
                yield block


def draw_strokes(mask: bytes) -> bytes:
    """A PNG in which the mask's light areas are red and all else is black; raises InvalidInput for no picture."""
    try:
        with Image.open(io.BytesIO(mask)) as picture:
            grey = _flatten(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"the mask is no picture that can be read: {error}") from None
    painted = grey.point([255 * (level > 127) for level in range(256)]).convert("P")
    painted.putpalette([*(0, 0, 0) * 128, *_STROKE * 128])
    out = io.BytesIO()
    painted.save(out, "PNG")
    return out.getvalue()


def _flatten(picture: Image.Image) -> Image.Image:
    """Grey levels over a black ground: what is transparent is not to be removed."""
    if picture.mode in {"I", "I;16", "I;16B"}:
        return picture.point(lambda level: level / 256).convert("L")
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("L")
    ground = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("L")
