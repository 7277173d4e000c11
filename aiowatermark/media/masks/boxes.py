"""Boxes: rectangles of an image to remove, in place of a mask image.

Where a provider takes rectangles they are sent as they are. For the others the client draws them as a mask in black and
white, of the size of the image, which then becomes the provider's kind of mask like any other.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from typing import Any, TypeAlias

from attrs import define, field

from ...errors import InvalidInput
from ...introspection import documented
from ..base import Media
from ..memory import Bytes

Box: TypeAlias = tuple[int, int, int, int]
"""x, y, width and height in pixels."""

MAX_BOXES = 1000
_MAX_SIDE = 1_000_000


def _to_boxes(value: Iterable[Any]) -> tuple[Box, ...]:
    try:
        return tuple(tuple(box) for box in value)
    except TypeError:
        raise InvalidInput(f"Boxes takes a list of (x, y, width, height), not {type(value).__name__}") from None


def _validate_boxes(_: object, __: object, boxes: tuple[Any, ...]) -> None:
    if not 1 <= len(boxes) <= MAX_BOXES:
        raise InvalidInput(f"Boxes takes 1 to {MAX_BOXES} boxes, not {len(boxes)}")
    for box in boxes:
        numbers = [value for value in box if isinstance(value, int) and not isinstance(value, bool)]
        if len(box) != 4 or len(numbers) != 4:
            raise InvalidInput(f"a box is (x, y, width, height) in whole pixels, not {box!r:.200}")
        if min(box[:2]) < 0 or min(box[2:]) < 1 or max(box) > _MAX_SIDE:
            raise InvalidInput(f"a box begins in the image and has at least one pixel, unlike {box!r:.200}")


@documented
@define(eq=False)
class Boxes(Media):
    """Rectangles of an image to remove: pass them as `mask=`, or as the `brush=` of a refinement.

    Args:
        boxes: the rectangles, each (x, y, width, height) in whole pixels. x and y, counted from 0, are those of its top
            left corner. They mark the pixels as they are stored, so the EXIF orientation does not count.

    Raises InvalidInput for anything else, for no box, and for more than 1000.
    """

    boxes: tuple[Box, ...] = field(converter=_to_boxes, validator=_validate_boxes, repr=lambda boxes: f"<{len(boxes)}>")
    name: str = field(default="boxes.json", init=False)

    @property
    def rectangles(self) -> str:
        """The boxes as JSON: a list of objects with x, y, width and height."""
        names = ("x", "y", "width", "height")
        return json.dumps([dict(zip(names, box, strict=True)) for box in self.boxes], separators=(",", ":"))

    @property
    def size(self) -> int:  # type: ignore[override]
        """Length of the JSON."""
        return len(self.rectangles)

    @property
    def identity(self) -> str:
        """The name and the number of boxes."""
        return f"{self.name}:{len(self.boxes)}"

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the JSON, so that a digest of the content is one of the boxes."""
        yield self.rectangles.encode()

    def check_inside(self, name: str, size: tuple[int, int]) -> None:
        """Raise InvalidInput unless the boxes are inside an image of this width and height and leave some of it."""
        width, height = size
        for x, y, box_width, box_height in self.boxes:
            if x + box_width > width or y + box_height > height:
                raise InvalidInput(
                    f"the box ({x}, {y}, {box_width}, {box_height}) is not inside {name}, which has {width}x{height} "
                    "pixels"
                )
            if (box_width, box_height) == size:
                raise InvalidInput(f"a box is as large as {name}: nothing of it would be kept")


@define(eq=False)
class DrawnBoxes(Bytes):
    """Boxes as a mask in black and white; a repeated submission is recognised by the boxes, not by the PNG."""

    boxes: Boxes = field(kw_only=True, repr=False)

    @property
    def fingerprint(self) -> str:
        """That of the boxes."""
        return self.boxes.fingerprint
