"""Masks: what is understood becomes black and white, and what can do nothing is refused."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from PIL import Image

from aiowatermark.errors import InvalidInput
from aiowatermark.media.masks.black_and_white import MAX_MASK_PIXELS, convert_mask
from aiowatermark.media.masks.strokes import StrokeMask, check_strokes, draw_strokes
from aiowatermark.media.memory import Bytes
from tests.support.media_sources import read_media

RED, BLACK, WHITE = (255, 0, 0), (0, 0, 0), (255, 255, 255)
AREA = (8, 4, 20, 12)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def area(background: Any = 0, foreground: Any = 255, mode: str = "L") -> Image.Image:
    """An image whose area is to be removed."""
    image = Image.new(mode, (32, 24), background)
    image.paste(foreground, AREA)
    return image


def with_palette(*colours: int, **options: Any) -> bytes:
    image = area(0, 1, "P")
    image.putpalette(colours)
    return encoded(image, **options)


def assert_marks_the_area(converted: bytes) -> None:
    with Image.open(io.BytesIO(converted)) as image:
        assert (image.format, image.mode in {"L", "RGB"}) == ("PNG", True)
        assert image.convert("L").tobytes() == area().tobytes()


UNDERSTOOD: dict[str, Callable[[], bytes]] = {
    "1 bit": lambda: encoded(area(0, 1, "1")),
    "8 bits": lambda: encoded(area()),
    "16 bits": lambda: encoded(area(0, 65_535, "I;16")),
    "8 bits in 16": lambda: encoded(area(0, 255, "I;16")),
    "colours": lambda: encoded(area(BLACK, WHITE, "RGB")),
    "BMP": lambda: encoded(area(), "BMP"),
    "GIF": lambda: encoded(area(), "GIF"),
    "TIFF with fractions": lambda: encoded(area(0.0, 1.0, "F"), "TIFF"),
    "JPEG": lambda: encoded(area().resize((320, 240)).resize((32, 24)), "JPEG", quality=100),
    "palette": lambda: with_palette(0, 0, 0, 255, 255, 255),
    "palette with the colours the other way round": lambda: encoded(inverted_palette()),
    "0 and 1": lambda: encoded(area(0, 1)),
    "0 and 1 in colours": lambda: encoded(area(BLACK, (1, 1, 1), "RGB")),
    "black and red": lambda: encoded(area(BLACK, RED, "RGB")),
    "dark and light grey": lambda: encoded(area(10, 245)),
    "white on transparent": lambda: encoded(area((0, 0, 0, 0), (*WHITE, 255), "RGBA")),
    "white on transparent white": lambda: encoded(area((*WHITE, 0), (*WHITE, 255), "RGBA")),
    "white on transparent, grey": lambda: encoded(area((255, 0), (255, 255), "LA")),
    "white on black, all opaque": lambda: encoded(area((*BLACK, 255), (*WHITE, 255), "RGBA")),
    "palette with transparency": lambda: with_palette(9, 9, 9, 255, 255, 255, transparency=0),
    "a transparent hole": lambda: encoded(area((*BLACK, 255), (*BLACK, 0), "RGBA")),
    "a transparent hole in grey": lambda: encoded(area((0, 255), (0, 0), "LA")),
    "a transparent hole in the picture": lambda: encoded(hole_in_a_photograph()),
}


def inverted_palette() -> Image.Image:
    image = area(1, 0, "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    return image


def hole_in_a_photograph() -> Image.Image:
    image = Image.effect_noise((32, 24), 60).convert("RGB")
    image.putalpha(area(255, 0))
    return image


@pytest.mark.parametrize("kind", UNDERSTOOD)
def test_a_mask_that_is_understood_becomes_black_and_white(kind: str) -> None:
    assert_marks_the_area(convert_mask(UNDERSTOOD[kind]()))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_png_in_black_and_white_is_sent_as_it_is(mode: str) -> None:
    mask = encoded(area().convert(mode))
    assert convert_mask(mask) is mask


def photograph(sigma: float) -> Image.Image:
    return Image.effect_noise((64, 48), sigma).convert("RGB")


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "black": (lambda: encoded(area(0, 0)), "black everywhere: it must be white where something must be removed"),
    "white": (lambda: encoded(area(255, 255)), "white everywhere: it must be black where the image must be kept"),
    "nearly black": (lambda: encoded(area(0, 0).point(lambda level: level + 9)), "black everywhere"),
    "labels": (lambda: encoded(labels()), "black everywhere"),
    "transparent": (lambda: encoded(area((*WHITE, 0), (*WHITE, 0), "RGBA")), "black everywhere"),
    "black on transparent": (lambda: encoded(area((0, 0, 0, 0), (*BLACK, 255), "RGBA")), "black everywhere"),
    "opaque black": (lambda: encoded(area((*BLACK, 255), (*BLACK, 255), "RGBA")), "black everywhere"),
    "grey": (lambda: encoded(area(128, 128)), r"^100 % of this mask is neither black nor white"),
    "two greys": (lambda: encoded(area(100, 200)), r"^100 % of this mask is neither black nor white"),
    "a photograph": (lambda: encoded(photograph(50), "JPEG"), r"^9\d % of this mask is neither black nor white"),
    "a bright photograph": (lambda: encoded(photograph(120)), r"^\d\d % of this mask is neither black nor white"),
    "no image": (lambda: b"not an image", "not a readable image"),
    "half a file": (lambda: encoded(photograph(50))[:3000], "not a readable image"),
}


def labels() -> Image.Image:
    image = area(0, 1)
    image.paste(2, (0, 0, 4, 4))
    return image


@pytest.mark.parametrize("kind", REFUSED)
def test_a_mask_that_can_do_nothing_is_refused(kind: str) -> None:
    make, message = REFUSED[kind]
    with pytest.raises(InvalidInput, match=message):
        convert_mask(make())


@pytest.mark.parametrize(("level", "colour"), [(127, BLACK), (128, RED), (1, BLACK), (254, RED)])
def test_smooth_edges_are_split_at_the_middle_level(level: int, colour: tuple[int, int, int]) -> None:
    mask = area()
    mask.putpixel((0, 0), level)
    with Image.open(io.BytesIO(draw_strokes(encoded(mask)))) as strokes:
        assert strokes.convert("RGB").getpixel((0, 0)) == colour


# pixels are bounded before they are decoded


def bomb(width: int, height: int) -> bytes:
    """A PNG of transparent pixels that is small as a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join([packer.compress(bytes(1 + 4 * width)) for _ in range(height)] + [packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("convert", [convert_mask, draw_strokes, check_strokes])
def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_decoded(convert: Any) -> None:
    mask = bomb(40_001, 1000)
    assert len(mask) < 300_000
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="has 40001x1000 pixels, more than 40 million"):
        convert(mask)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_every_mask_that_a_provider_may_accept_is_below_the_bound() -> None:
    assert MAX_MASK_PIXELS >= 6000 * 6000


# strokes


def strokes_of(mask: bytes) -> Image.Image:
    with Image.open(io.BytesIO(draw_strokes(mask))) as strokes:
        assert strokes.format == "PNG"
        return strokes.convert("RGB")


@pytest.mark.parametrize("kind", UNDERSTOOD)
def test_strokes_are_pure_red_on_pure_black(kind: str) -> None:
    assert strokes_of(UNDERSTOOD[kind]()).tobytes() == area(BLACK, RED, "RGB").tobytes()


def test_a_damaged_mask_is_drawn_or_refused_and_raises_no_other_error() -> None:
    generator = random.Random(11)  # noqa: S311 - damage, not cryptography
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"):
        data = encoded(area(BLACK, WHITE, "RGB"), kind)
        for _ in range(200):
            damaged = bytearray(data)
            for _ in range(generator.randrange(1, 6)):
                damaged[generator.randrange(min(len(data), 200))] = generator.randrange(256)
            cut = generator.choice([len(data), generator.randrange(len(data))])
            with suppress(InvalidInput):
                draw_strokes(bytes(damaged[:cut]))


async def test_strokes_are_drawn_once_and_can_be_read_repeatedly() -> None:
    mask = Bytes(encoded(area()))
    assert StrokeMask(mask).size is None
    strokes = StrokeMask(mask)
    await strokes.measure()
    data = await read_media(strokes)
    assert await read_media(strokes) == data
    assert (strokes.size, strokes.name) == (len(data), "smear.png")
    assert strokes.identity == strokes.mask.identity
    with pytest.raises(InvalidInput, match="not a readable image"):
        await StrokeMask(Bytes(b"not an image")).measure()


@pytest.mark.parametrize("colours", [(BLACK, BLACK), (WHITE, WHITE), (BLACK, WHITE)])
def test_a_smear_without_strokes_is_refused(colours: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidInput, match="the smear marks nothing"):
        check_strokes(encoded(area(*colours, "RGB")))


@pytest.mark.parametrize("colours", [(BLACK, RED), (WHITE, RED), (WHITE, (254, 255, 255))])
def test_a_smear_with_strokes_is_accepted(colours: tuple[Any, Any]) -> None:
    check_strokes(encoded(area(*colours, "RGB")))
    image = area(*colours, "RGB")
    image.putpixel((0, 0), BLACK)
    image.putpixel((1, 0), WHITE)
    check_strokes(encoded(image))
