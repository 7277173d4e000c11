"""Media: accepted and refused sources, reading once or twice, base64, names."""

from __future__ import annotations

import asyncio
import io
import os
import random
import string
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowatermark.errors import InvalidInput, TransferFailed
from aiowatermark.media import Source, as_media, optional_media
from aiowatermark.media.base import BLOCK_SIZE, CHUNK, SNIFF_BYTES, Media, safe_name
from aiowatermark.media.files import File, FileReader
from aiowatermark.media.masks.strokes import StrokeMask
from aiowatermark.media.memory import Base64Text, Bytes, Link
from aiowatermark.media.open_file import OpenFile
from aiowatermark.media.stream import Stream
from aiowatermark.redaction import redact_url
from tests.support.media_sources import Pipe, read_media, stream_of

DATA = random.Random(7).randbytes(BLOCK_SIZE + 12_345)  # noqa: S311 - bytes, not keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    file.write_bytes(DATA)
    return file


# accepted sources


async def test_every_kind_of_source_is_read_completely(path: Path) -> None:
    with path.open("rb") as opened:
        sources: list[Source] = [path, str(path), DATA, bytearray(DATA), memoryview(DATA), opened, io.BytesIO(DATA)]
        for source in sources:
            media = as_media(source)
            await media.measure()
            assert media.size == len(DATA)
            assert await media.head() == DATA[:SNIFF_BYTES]
            assert await read_media(media) == DATA
            assert media.reopenable
            assert await read_media(media) == DATA
    media = as_media(stream_of(DATA[:10], DATA[10:]), size=len(DATA), name="clip.mp4")
    await media.measure()
    assert (await media.head(), media.size, media.name) == (DATA[:SNIFF_BYTES], len(DATA), "clip.mp4")
    assert await read_media(media) == DATA


def test_urls_and_paths_are_distinguished() -> None:
    assert isinstance(as_media("HTTPS://example.com/a.png"), Link)
    assert isinstance(as_media("photos/https.jpg"), File)
    assert isinstance(as_media(Path("photo.jpg")), File)
    assert isinstance(as_media("http.jpg"), File)


def test_media_and_none_are_returned_unchanged() -> None:
    media = Bytes(b"x")
    assert as_media(media) is media
    assert optional_media(None) is None
    assert isinstance(optional_media(b"x"), Bytes)


@pytest.mark.parametrize("source", [7, 1.5, object(), [b"x"], {"a": 1}, True])
def test_an_unsupported_type_is_refused(source: Any) -> None:
    with pytest.raises(InvalidInput, match="media must be a path, bytes, a URL"):
        as_media(source)


@pytest.mark.parametrize("link", ["http://[", "https://[::1/a.png", "https://", "http:///a.png"])
def test_a_url_without_a_host_is_refused(link: str) -> None:
    with pytest.raises(InvalidInput, match="is not a valid URL"):
        as_media(link)


# sources refused before anything is sent


async def assert_refused(source: Source, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        await as_media(source).measure()


async def test_folders_missing_files_and_empty_sources_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    await assert_refused(tmp_path, "is a folder: pass the files in it")
    await assert_refused("", "is a folder")
    await assert_refused(tmp_path / "missing.jpg", "cannot be read: No such file")
    await assert_refused(empty / "below.jpg", "cannot be read: Not a directory")
    await assert_refused("a" * 300, "cannot be read: File name too long")
    await assert_refused(empty, "is an empty file")
    await assert_refused(b"", "is empty: 0 bytes")
    await assert_refused(io.BytesIO(b""), "has no bytes after the current position")
    await assert_refused(stream_of(), "is an empty stream")
    await assert_refused(stream_of(b""), "is an empty stream")
    await assert_refused("nul\0byte.jpg", "cannot be read")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_file_that_may_not_be_read_is_refused(path: Path) -> None:
    os.chmod(path, 0)  # noqa: PTH101 - nothing else runs
    with pytest.raises(InvalidInput, match="Permission denied"):
        await as_media(path).head()


async def test_a_file_open_for_text_is_refused_with_what_to_do(path: Path) -> None:
    with path.open(encoding="latin-1") as opened:
        await assert_refused(opened, "not open for reading bytes: use open")
    await assert_refused(io.StringIO("text"), "not open for reading bytes")


async def test_a_file_open_for_writing_or_closed_is_refused(path: Path) -> None:
    with path.open("ab") as writable:
        await assert_refused(writable, "not open for reading bytes")
    with path.open("rb") as opened:
        pass
    for closed in (opened, writable):
        await assert_refused(closed, "not open for reading bytes")


# reading once or twice


async def test_an_open_file_is_read_from_its_current_position(path: Path) -> None:
    with path.open("rb") as opened:
        opened.seek(1000)
        media = as_media(opened)
        await media.measure()
        assert media.size == len(DATA) - 1000
        assert await media.head() == DATA[1000 : 1000 + SNIFF_BYTES]
        for _ in range(2):
            assert await read_media(media) == DATA[1000:]


async def test_a_second_reading_is_refused_where_seeking_is_impossible(tmp_path: Path) -> None:
    pipe: Any = Pipe(b"abc")
    for media in (as_media(pipe, size=3), as_media(stream_of(b"a", b"bc"))):
        await media.measure()
        assert not media.reopenable
        assert await read_media(media) == b"abc"
        with pytest.raises(TransferFailed, match="cannot be read again"):
            await read_media(media)


async def test_reading_the_head_of_a_stream_loses_no_bytes() -> None:
    media = Stream(stream_of(b"first", b"second"))
    assert await media.head() == b"firstsecond"
    await media.measure()
    assert await media.head() == b"firstsecond"
    assert await read_media(media) == b"firstsecond"


async def test_a_stream_whose_first_block_is_empty_is_not_empty() -> None:
    media = Stream(stream_of(b"", b"abc"))
    await media.measure()
    assert await read_media(media) == b"abc"


async def test_two_concurrent_readings_of_a_file_are_independent(path: Path) -> None:
    media = as_media(path)
    one, two = media.blocks(), media.blocks()
    first = await anext(one)
    assert await anext(two) == first
    assert first + b"".join([block async for block in one]) == DATA
    assert first + b"".join([block async for block in two]) == DATA


async def test_a_reading_cancelled_while_it_opens_the_file_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(DATA)

    async def read() -> None:
        async for _ in File(path).blocks():
            await asyncio.sleep(0)

    readers: list[FileReader] = []

    class RecordedReader(FileReader):
        def __init__(self, path: Path, buffer_bytes: int) -> None:
            super().__init__(path, buffer_bytes)
            readers.append(self)

    monkeypatch.setattr("aiowatermark.media.files.FileReader", RecordedReader)
    for steps in range(20):
        task = asyncio.create_task(read())
        for _ in range(steps % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert readers
    assert all(reader._file.closed for reader in readers)


async def test_contents_differ_in_their_fingerprints_and_are_not_in_them(path: Path) -> None:
    media: list[Media] = [
        Bytes(b"canary"),
        Bytes(b"Canary"),
        Base64Text(b64encode(b"canary3").decode()),
        Link("https://example.com/a?canary"),
        Link("https://example.com/b?canary"),
        Link("https://example.com/b?Canary"),
        as_media(path),
        as_media(io.BytesIO(DATA[1:])),
        Stream(stream_of(b"x"), size=5, name="a"),
        Stream(stream_of(b"x"), size=6, name="a"),
    ]
    for one in media:
        await one.measure()
        await one.hash_content()
    assert len({one.fingerprint for one in media}) == len(media)
    assert "canary" not in "".join(one.fingerprint + one.identity for one in media).lower()


async def test_equal_content_has_one_fingerprint_whatever_it_is_read_from(path: Path) -> None:
    with path.open("rb") as opened:
        media = [as_media(path), as_media(DATA), as_media(opened), Base64Text(b64encode(DATA).decode())]
        for one in media:
            await one.measure()
            assert one.digest is None
            await one.hash_content()
        assert len({one.fingerprint for one in media}) == 1


def test_no_repr_contains_bytes_or_a_query(path: Path) -> None:
    opened: BinaryIO = io.BytesIO(b"canary")
    media = [Bytes(b"canary"), Base64Text("canary=="), Link("https://u:canary@example.com/a?canary"), OpenFile(opened)]
    assert "canary" not in repr([*media, StrokeMask(media[0]), Stream(stream_of(b"canary"))])


# base64


@pytest.mark.parametrize("size", [1, 2, 3, 4, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2])
async def test_base64_is_decoded_in_blocks(size: int) -> None:
    data = DATA[:size]
    media = Base64Text(b64encode(data).decode())
    assert await read_media(media) == b64decode(media.text) == data
    assert media.size == size
    assert await media.head() == data[:SNIFF_BYTES]
    assert await read_media(media) == data


@given(st.binary(min_size=1, max_size=200))
def test_the_size_of_base64_is_known_before_it_is_decoded(data: bytes) -> None:
    assert Base64Text(b64encode(data).decode()).size == len(data)


@pytest.mark.parametrize("text", ["QUI", "QU=I", "Q!JD", "QUJD=QUJD", "é===", "QUJD\n"])
async def test_invalid_base64_is_a_failed_transfer(text: str) -> None:
    with pytest.raises(TransferFailed, match="not valid base64"):
        await read_media(Base64Text(text))


# names and URLs


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
def test_a_hostile_name_is_made_safe(name: str) -> None:
    safe = safe_name(name)
    assert 1 <= len(safe) <= 100
    assert safe.isprintable()
    assert not set(safe) & set('/\\"\r\n\0:*?<>|')
    assert not safe.startswith(".")
    assert safe == safe_name(safe)
    assert Path(safe).name == safe


@given(st.text(max_size=150))
def test_any_text_is_made_a_safe_name(name: str) -> None:
    safe = safe_name(name)
    assert 1 <= len(safe) <= 100
    assert Path(safe).name == safe
    assert not set(safe) & set('/\\"\r\n\0')


def test_a_long_name_keeps_its_suffix() -> None:
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
def test_the_name_of_a_url_comes_from_its_path(link: str, name: str) -> None:
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
def test_only_host_and_path_of_a_url_are_shown(link: str, shown: str) -> None:
    assert redact_url(link) == shown
    assert "canary" not in repr(Link(link))


@pytest.mark.parametrize("text", ["http://[canary", "https://[::1?canary", "", "not a URL"])
def test_redacting_never_raises(text: str) -> None:
    assert "canary" not in redact_url(text)


@pytest.mark.parametrize("name", ["", "../x.png", "a/b/c.jpg"])
def test_a_name_passed_by_the_caller_is_made_safe(name: str) -> None:
    media = as_media(b"x", name=name)
    assert media.name == safe_name(name)
    assert not set(media.name) - set(string.ascii_letters + ".")
