"""Bytes in and out: what is taken, what is refused, what can be read twice, what a smear looks like."""

from __future__ import annotations

import asyncio
import io
import os
import random
import string
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aiowatermark.errors import InvalidInput, TransferFailed
from aiowatermark.media import Source, as_media, optional_media
from aiowatermark.media.base import BLOCK_SIZE, CHUNK, SNIFF_BYTES, Media, safe_name
from aiowatermark.media.files import File, FileReader, OpenFile
from aiowatermark.media.memory import Base64Text, Bytes, Link
from aiowatermark.media.stream import Stream
from aiowatermark.media.stroke_mask import StrokeMask, draw_strokes
from aiowatermark.redaction import redact_url

DATA = random.Random(7).randbytes(BLOCK_SIZE + 12_345)  # noqa: S311 - bytes, not keys
RED, BLACK = (255, 0, 0), (0, 0, 0)


async def whole(media: Media) -> bytes:
    return b"".join([block async for block in media.blocks()])


async def pieces(*blocks: bytes) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    file.write_bytes(DATA)
    return file


# what is taken


async def test_every_source_gives_its_bytes(path: Path) -> None:
    with path.open("rb") as opened:
        sources: list[Source] = [path, str(path), DATA, bytearray(DATA), memoryview(DATA), opened, io.BytesIO(DATA)]
        for source in sources:
            media = as_media(source)
            await media.measure()
            assert media.size == len(DATA)
            assert await media.head() == DATA[:SNIFF_BYTES]
            assert await whole(media) == DATA
            assert media.reopenable
            assert await whole(media) == DATA
    media = as_media(pieces(DATA[:10], DATA[10:]), size=len(DATA), name="clip.mp4")
    await media.measure()
    assert (await media.head(), media.size, media.name) == (DATA[:10], len(DATA), "clip.mp4")
    assert await whole(media) == DATA


def test_a_link_is_told_from_a_path() -> None:
    assert isinstance(as_media("HTTPS://example.com/a.png"), Link)
    assert isinstance(as_media("photos/https.jpg"), File)
    assert isinstance(as_media(Path("photo.jpg")), File)
    assert isinstance(as_media("http.jpg"), File)


def test_media_stays_what_it_is_and_nothing_stays_nothing() -> None:
    media = Bytes(b"x")
    assert as_media(media) is media
    assert optional_media(None) is None
    assert isinstance(optional_media(b"x"), Bytes)


@pytest.mark.parametrize("source", [7, 1.5, object(), [b"x"], {"a": 1}, True])
def test_what_holds_no_bytes_is_refused(source: Any) -> None:
    with pytest.raises(InvalidInput, match="media is a path, bytes, a link"):
        as_media(source)


@pytest.mark.parametrize("link", ["http://[", "https://[::1/a.png", "https://", "http:///a.png"])
def test_a_link_that_leads_nowhere_is_refused(link: str) -> None:
    with pytest.raises(InvalidInput, match="is no link"):
        as_media(link)


# what is refused, before anything is sent


async def refused(source: Source, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        await as_media(source).measure()


async def test_a_folder_a_missing_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    await refused(tmp_path, "is a folder: give the files in it")
    await refused("", "is a folder")
    await refused(tmp_path / "missing.jpg", "cannot be read: No such file")
    await refused(empty / "below.jpg", "cannot be read: Not a directory")
    await refused("a" * 300, "cannot be read: File name too long")
    await refused(empty, "is an empty file")
    await refused(b"", "is empty: 0 bytes")
    await refused(io.BytesIO(b""), "is empty from where the open file stands")
    await refused(pieces(), "is an empty stream")
    await refused(pieces(b""), "is an empty stream")
    await refused("nul\0byte.jpg", "cannot be read")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_file_that_may_not_be_read_is_refused(path: Path) -> None:
    os.chmod(path, 0)  # noqa: PTH101 - nothing else runs
    with pytest.raises(InvalidInput, match="Permission denied"):
        await as_media(path).head()


async def test_a_file_open_for_text_is_refused_with_what_to_do(path: Path) -> None:
    with path.open(encoding="latin-1") as opened:
        await refused(opened, "not open for reading bytes: use open")  # type: ignore[arg-type]
    await refused(io.StringIO("text"), "not open for reading bytes")  # type: ignore[arg-type]


async def test_a_file_open_for_writing_or_closed_is_refused(path: Path) -> None:
    with path.open("ab") as written:
        await refused(written, "not open for reading bytes")
    with path.open("rb") as opened:
        pass
    for closed in (opened, written):
        await refused(closed, "not open for reading bytes")


# what can be read twice


async def test_an_open_file_is_read_from_where_it_stands(path: Path) -> None:
    with path.open("rb") as opened:
        opened.seek(1000)
        media = as_media(opened)
        await media.measure()
        assert media.size == len(DATA) - 1000
        assert await media.head() == DATA[1000 : 1000 + SNIFF_BYTES]
        for _ in range(2):
            assert await whole(media) == DATA[1000:]


class Pipe(io.RawIOBase):
    """Bytes that can be read once and not sought in."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        taken, self.data = self.data[:size], self.data[size:]
        return taken


async def test_what_cannot_seek_is_read_once_and_says_so(tmp_path: Path) -> None:
    pipe: Any = Pipe(b"abc")
    for media in (as_media(pipe, size=3), as_media(pieces(b"a", b"bc"))):
        await media.measure()
        assert not media.reopenable
        assert await whole(media) == b"abc"
        with pytest.raises(TransferFailed, match="cannot be read again"):
            await whole(media)


async def test_a_stream_that_was_looked_at_loses_nothing() -> None:
    media = Stream(pieces(b"first", b"second"))
    assert await media.head() == b"first"
    await media.measure()
    assert await media.head() == b"first"
    assert await whole(media) == b"firstsecond"


async def test_a_stream_whose_first_block_is_empty_is_not_empty() -> None:
    media = Stream(pieces(b"", b"abc"))
    await media.measure()
    assert await whole(media) == b"abc"


async def test_a_file_is_opened_anew_for_each_reading_and_two_readings_do_not_meet(path: Path) -> None:
    media = as_media(path)
    one, two = media.blocks(), media.blocks()
    first = await anext(one)
    assert await anext(two) == first
    assert first + b"".join([block async for block in one]) == DATA
    assert first + b"".join([block async for block in two]) == DATA


def test_identities_tell_media_apart_without_their_content(path: Path) -> None:
    media: list[Media] = [
        Bytes(b"canary"),
        Bytes(b"canary2"),
        Base64Text(b64encode(b"canary").decode()),
        Link("https://example.com/a?canary"),
        Link("https://example.com/b?canary"),
        as_media(path),
        Stream(pieces(b"x"), size=5, name="a"),
        Stream(pieces(b"x"), size=6, name="a"),
    ]
    assert len({one.identity for one in media}) == len(media)
    assert "canary" not in "".join(one.identity for one in media)
    assert Link("https://example.com/a?new").identity == Link("https://example.com/a?old").identity


def test_no_repr_shows_bytes_or_a_query(path: Path) -> None:
    opened: BinaryIO = io.BytesIO(b"canary")
    media = [Bytes(b"canary"), Base64Text("canary=="), Link("https://u:canary@example.com/a?canary"), OpenFile(opened)]
    assert "canary" not in repr([*media, StrokeMask(media[0]), Stream(pieces(b"canary"))])


# base64


@pytest.mark.parametrize("size", [1, 2, 3, 4, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2])
async def test_base64_in_blocks_is_base64_at_once(size: int) -> None:
    data = DATA[:size]
    media = Base64Text(b64encode(data).decode())
    assert await whole(media) == b64decode(media.text) == data
    assert media.size == size
    assert await media.head() == data[:SNIFF_BYTES]
    assert await whole(media) == data


@given(st.binary(min_size=1, max_size=200))
def test_the_size_of_base64_is_known_before_it_is_decoded(data: bytes) -> None:
    assert Base64Text(b64encode(data).decode()).size == len(data)


@pytest.mark.parametrize("text", ["QUI", "QU=I", "Q!JD", "QUJD=QUJD", "é===", "QUJD\n"])
async def test_what_is_no_base64_is_a_failed_transfer(text: str) -> None:
    with pytest.raises(TransferFailed, match="not valid base64"):
        await whole(Base64Text(text))


# names and links


HOSTILE = [
    "../../etc/passwd",
    "..\\..\\windows\\system.ini",
    "/etc/passwd",
    "C:\\x\\y.bmp",
    "..",
    ".",
    "",
    "   ",
    "...",
    ".htaccess",
    "a/../..",
    'q"uote\r\nX-Evil: 1.jpg',
    "nul\0byte.png",
    "con\x1b[31mtrol.png",
    "\u202egnp.exe",
    "a" * 300 + ".jpg",
    "a." + "b" * 300,
    "." * 300,
    "фото.jpg",
    "\ud800.jpg",
    "%2e%2e%2f.jpg",
    "-rf.jpg",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_is_only_a_name(name: str) -> None:
    safe = safe_name(name)
    assert 1 <= len(safe) <= 100
    assert safe.isprintable()
    assert not set(safe) & set('/\\"\r\n\0:*?<>|')
    assert not safe.startswith(".")
    assert safe == safe_name(safe)
    assert Path(safe).name == safe


@given(st.text(max_size=150))
def test_any_text_makes_a_safe_name(name: str) -> None:
    safe = safe_name(name)
    assert 1 <= len(safe) <= 100
    assert Path(safe).name == safe
    assert not set(safe) & set('/\\"\r\n\0')


def test_a_long_name_keeps_its_ending() -> None:
    assert safe_name("a" * 300 + ".jpeg") == "a" * 95 + ".jpeg"


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("https://example.com/a/photo%20one.png?x=1", "photo one.png"),
        ("https://example.com/a/%2e%2e%2fpasswd", "passwd"),
        ("https://example.com/", "media"),
        ("https://example.com", "media"),
        ("https://example.com/a.png#b/c.png", "a.png"),
    ],
)
def test_a_link_is_named_after_its_path(link: str, name: str) -> None:
    assert Link(link).name == name


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("https://example.com/a.png?sig=canary", "https://example.com/a.png?…"),
        ("https://user:canary@example.com:8443/a.png", "https://example.com:8443/a.png"),
        ("https://example.com/a.png#canary", "https://example.com/a.png"),
        ("https://a@b:canary@example.com/?canary#canary", "https://example.com/?…"),
    ],
)
def test_of_a_link_only_host_and_path_are_shown(link: str, shown: str) -> None:
    assert redact_url(link) == shown
    assert "canary" not in repr(Link(link))


@pytest.mark.parametrize("text", ["http://[canary", "https://[::1?canary", "", "no link"])
def test_redacting_never_raises(text: str) -> None:
    assert "canary" not in redact_url(text)


@pytest.mark.parametrize("name", ["", "../x.png", "a/b/c.jpg"])
def test_a_given_name_is_made_safe(name: str) -> None:
    media = as_media(b"x", name=name)
    assert media.name == safe_name(name)
    assert not set(media.name) - set(string.ascii_letters + ".")


# smears


def png(picture: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", **options)
    return out.getvalue()


def painted(picture: Image.Image, **options: Any) -> Image.Image:
    with Image.open(io.BytesIO(draw_strokes(png(picture, **options)))) as made:
        assert made.format == "PNG"
        return made.convert("RGB")


WHITE: dict[str, Any] = {
    "1": 1,
    "L": 255,
    "LA": (255, 255),
    "RGB": (255, 255, 255),
    "RGBA": (255, 255, 255, 255),
    "I;16": 65_535,
}


@pytest.mark.parametrize("mode", WHITE)
def test_white_becomes_red_and_black_stays_black_in_every_mode(mode: str) -> None:
    mask = Image.new(mode, (7, 5))
    mask.putpixel((3, 2), WHITE[mode])
    made = painted(mask)
    assert made.size == (7, 5)
    assert {made.getpixel((x, y)) for x in range(7) for y in range(5) if (x, y) != (3, 2)} == {BLACK}
    assert made.getpixel((3, 2)) == RED


@pytest.mark.parametrize("transparency", [None, 1])
def test_the_colours_of_a_palette_count_and_not_their_numbers(transparency: int | None) -> None:
    mask = Image.new("P", (2, 1))
    mask.putpalette([255, 255, 255, 0, 0, 0])
    mask.putpixel((1, 0), 1)
    made = painted(mask, **({} if transparency is None else {"transparency": transparency}))
    assert [made.getpixel((x, 0)) for x in range(2)] == [RED, BLACK]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_is_not_to_be_removed(mode: str) -> None:
    mask = Image.new(mode, (2, 1), (255, 0) if mode == "LA" else (255, 255, 255, 0))
    mask.putpixel((1, 0), (255, 255) if mode == "LA" else (255, 255, 255, 255))
    made = painted(mask)
    assert [made.getpixel((x, 0)) for x in range(2)] == [BLACK, RED]


@pytest.mark.parametrize(
    ("mode", "level", "colour"),
    [
        ("L", 127, BLACK),
        ("L", 128, RED),
        ("L", 1, BLACK),
        ("L", 254, RED),
        ("I;16", 255, BLACK),
        ("I;16", 32_767, BLACK),
        ("I;16", 32_768, RED),
    ],
)
def test_grey_is_one_or_the_other(mode: str, level: int, colour: tuple[int, int, int]) -> None:
    assert painted(Image.new(mode, (2, 2), level)).getpixel((0, 0)) == colour


def test_a_smear_is_pure_red_and_pure_black_even_where_the_mask_is_blurred() -> None:
    made = painted(Image.effect_noise((64, 64), 90))
    colours: set[object] = {made.getpixel((x, y)) for x in range(64) for y in range(64)}
    assert colours == {RED, BLACK}


def test_a_damaged_mask_is_refused_and_nothing_else_comes_of_it() -> None:
    generator = random.Random(11)  # noqa: S311 - damage, not cryptography
    for kind in ("PNG", "JPEG", "BMP", "GIF"):
        out = io.BytesIO()
        Image.effect_noise((40, 40), 50).convert("RGB").save(out, kind)
        for _ in range(300):
            data = bytearray(out.getvalue())
            for _ in range(generator.randrange(1, 6)):
                data[generator.randrange(min(len(data), 200))] = generator.randrange(256)
            cut = generator.choice([len(data), generator.randrange(len(data))])
            with suppress(InvalidInput):
                draw_strokes(bytes(data[:cut]))


async def test_a_smear_is_painted_once_and_read_as_often_as_one_likes() -> None:
    mask = Bytes(png(Image.new("L", (8, 8), 255)))
    assert StrokeMask(mask).size is None
    smear = StrokeMask(mask)
    await smear.measure()
    data = await whole(smear)
    assert await whole(smear) == data
    assert (smear.size, smear.name) == (len(data), "smear.png")
    assert smear.identity == smear.mask.identity
    with pytest.raises(InvalidInput, match="no picture that can be read"):
        await StrokeMask(Bytes(b"no picture")).measure()


async def test_readings_that_are_called_off_while_they_open_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(DATA)

    async def read() -> None:
        async for _ in File(path).blocks():
            await asyncio.sleep(0)

    before = FileReader.open_readers
    for steps in range(20):
        task = asyncio.create_task(read())
        for _ in range(steps % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert FileReader.open_readers == before
