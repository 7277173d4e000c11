"""`aw.image`: arrays and PIL images as media, without a loss, encoded once and off the event loop."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from aiowatermark.media import as_media
from aiowatermark.media.sniff import sniff
from tests.support.media_sources import read_media

COLOURED = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
SHAPES = st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(
    lambda size: st.sampled_from([size, (*size, 3), (*size, 4)])
)


def decode(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@settings(deadline=None)  # the first example starts a loop and a thread
@given(arrays.arrays(np.uint8, SHAPES))
def test_every_array_of_bytes_comes_back_as_it_was(array: Any) -> None:
    media = aw.image(array)
    assert np.array_equal(decode(asyncio.run(read_media(media))), array)


@pytest.mark.parametrize(
    "view", [COLOURED[::-1], COLOURED[..., ::-1], COLOURED[::2, 3:], np.asfortranarray(COLOURED), COLOURED[..., 0]]
)
async def test_views_of_arrays_are_sent_as_they_look(view: Any) -> None:
    assert np.array_equal(decode(await read_media(aw.image(view))), view)


async def test_a_mask_of_bools_is_white_where_it_is_true() -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:10, 5:20] = True
    with Image.open(io.BytesIO(await read_media(aw.image(mask)))) as image:
        assert np.array_equal(np.asarray(image.convert("L")), mask * 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
async def test_a_pil_image_keeps_its_pixels(mode: str) -> None:
    image = Image.fromarray(COLOURED).convert(mode)
    decoded = Image.open(io.BytesIO(await read_media(aw.image(image))))
    assert (decoded.mode, decoded.convert("RGBA").tobytes()) == (mode, image.convert("RGBA").tobytes())


async def test_a_colour_profile_is_kept() -> None:
    image = Image.fromarray(COLOURED)
    image.info["icc_profile"] = b"profile"
    assert Image.open(io.BytesIO(await read_media(aw.image(image)))).info["icc_profile"] == b"profile"


async def test_jpeg_is_there_for_providers_that_take_nothing_else() -> None:
    data = await read_media(aw.image(COLOURED, format="jpeg"))
    assert sniff(data).format == "jpeg"
    smooth = np.full((30, 40, 3), (200, 90, 40), np.uint8)
    assert np.abs(decode(await read_media(aw.image(smooth, format="jpeg"))).astype(int) - smooth).max() <= 2


def test_the_name_is_that_of_the_format_or_the_given_one_made_safe() -> None:
    assert aw.image(COLOURED).name == "image.png"
    assert aw.image(COLOURED, format="jpeg").name == "image.jpeg"
    assert aw.image(COLOURED, name="../a\nb.png").name == "a_b.png"


@frozen
class Interface:
    """An object with the interface of arrays and no more of one."""

    __array_interface__: Any


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (COLOURED.astype(float), r"must be uint8 from 0 to 255.*not float64: scale it"),
        (COLOURED.astype(np.uint16), r"not uint16"),
        (COLOURED.astype(bool), r"unlike bool of shape \(30, 40, 3\)"),
        (COLOURED[0, 0], r"unlike uint8 of shape \(3,\)"),
        (COLOURED[..., :2], r"height x width x 3 or 4.*\(30, 40, 2\)"),
        (COLOURED[None], r"\(1, 30, 40, 3\)"),
        (COLOURED[:0], r"not empty, unlike uint8 of shape \(0, 40, 3\)"),
        (Interface({"typestr": "<f4", "shape": (3, 3)}), "not <f4"),
        (Interface(None), "takes a NumPy array or a PIL image, not Interface"),
        ("photo.jpg", "takes a NumPy array or a PIL image, not str"),
        (b"\x00", "not bytes"),
        (None, "not NoneType"),
        (Image.new("CMYK", (3, 3)), r"png has no pixels of mode CMYK: pass image.convert\('RGB'\)"),
        (Image.new("F", (3, 3)), "mode F"),
        (Image.new("RGB", (0, 3)), "no pixels: its size is 0x3"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence_when_it_is_passed(pixels: Any, words: str) -> None:
    with pytest.raises(aw.InvalidInput, match=words) as caught:
        aw.image(pixels)
    assert "\n" not in caught.value.message


def test_formats_that_lose_the_alpha_or_do_not_exist_are_refused() -> None:
    with pytest.raises(aw.InvalidInput, match="jpeg has no pixels of mode RGBA"):
        aw.image(np.zeros((3, 3, 4), np.uint8), format="jpeg")
    with pytest.raises(aw.InvalidInput, match='must be "png" or "jpeg", not \'gif\''):
        aw.image(COLOURED, format="gif")


async def test_pixels_that_cannot_be_encoded_are_invalid_input() -> None:
    broken = aw.image(Interface({"typestr": "|u1", "shape": (3, 3), "strides": (6, 2)}))
    with pytest.raises(aw.InvalidInput, match="the pixels cannot be encoded as png"):
        await broken.measure()


async def test_pixels_are_encoded_once_in_a_thread_and_not_before_they_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []
    save = Image.Image.save

    def record(*args: Any, **options: Any) -> None:
        threads.append(threading.get_ident())
        save(*args, **options)

    monkeypatch.setattr(Image.Image, "save", record)
    media = aw.image(COLOURED)
    assert (threads, media.size) == ([], None)
    await asyncio.gather(*(media.measure() for _ in range(10)))
    data = await read_media(media)
    await media.hash_content()
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    assert media.size == len(data)
    assert media.digest == await digest_of(data)


async def digest_of(data: bytes) -> str | None:
    media = as_media(data)
    await media.hash_content()
    return media.digest


def test_raw_pixels_are_refused_with_the_line_that_accepts_them() -> None:
    with pytest.raises(aw.InvalidInput, match=r"pass aw.image\(array\), whose order is red, green, blue"):
        as_media(COLOURED)  # type: ignore[arg-type]
    with pytest.raises(aw.InvalidInput, match=r"pass aw.image\(image\)"):
        as_media(Image.new("RGB", (3, 3)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("provider", "kind"),
    [("picwish", "png"), ("gptge", "png"), ("kaze", "png"), ("dewatermark", "jpeg")],
)
async def test_arrays_and_masks_go_to_every_provider_that_takes_files(
    emulator: Emulator, provider: str, kind: str
) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    mask = np.zeros((300, 400), bool)
    mask[50:100, 50:200] = True
    async with aw.Client(emulator.provider(provider)) as client:
        photo = aw.image(pixels, format=kind)
        result = await client.remove(photo, mask=aw.image(mask), key=aw.CONTENT_KEY)
        assert await result.read() == await read_media(photo)
        again = await client.remove(aw.image(pixels, format=kind), mask=aw.image(mask), key=aw.CONTENT_KEY)
        assert again.key == result.key
    assert emulator.charged[provider] == 1


async def test_a_brush_of_bools_refines_a_session_that_a_store_keeps(emulator: Emulator, tmp_path: Path) -> None:
    brush = np.zeros((30, 40), bool)
    brush[5:10, 5:20] = True
    provider = emulator.provider("dewatermark")
    async with aw.SQLiteStore(tmp_path / "jobs.db") as store, aw.Client(provider, store=store) as client:
        result = await client.remove(aw.image(COLOURED, format="jpeg"), mask=aw.image(brush), key="first")
        refined = await client.refine(result, brush=aw.image(brush), key="second")
        assert await refined.read()
    assert emulator.charged["dewatermark"] == 2
