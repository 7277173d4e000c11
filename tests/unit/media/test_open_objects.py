"""Objects with `read`, and streams: what is read is complete, is recognised, and is not mixed up by a second reader."""

from __future__ import annotations

import asyncio
import io
import mmap
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import UploadFile

from aiowatermark.errors import InvalidInput, TransferFailed, WatermarkError
from aiowatermark.media import as_media
from aiowatermark.media.base import BLOCK_SIZE, SNIFF_BYTES
from aiowatermark.media.open_file import OpenFile, spool_stream
from aiowatermark.media.stream import Stream
from tests.support.images import make_image
from tests.support.media_sources import Pipe, read_media, stream_in_blocks, stream_of

VIRTUAL_CLOCK = True
DATA = make_image(300, 200, "bmp") * 8


class OnlyRead:
    """As the body of an object in S3: `read` and nothing else."""

    def __init__(self, data: bytes = DATA) -> None:
        self.file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


class ShortReads(OnlyRead):
    """Gives less than it is asked for."""

    def read(self, size: int = -1) -> bytes:
        return self.file.read(min(size, 7001))


class AsyncRead(OnlyRead):
    """As a file of aiofiles."""

    async def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        return self.file.read(size)


class NotYet(OnlyRead):
    """As a non-blocking pipe: gives None between its blocks."""

    calls = 0

    def read(self, size: int = -1) -> bytes:
        self.calls += 1
        return self.file.read(50_000) if self.calls % 3 == 0 else None  # type: ignore[return-value]


class ReadsAll(OnlyRead):
    """As an answer of an HTTP library: `read` takes no size and always gives everything."""

    def read(self) -> bytes:  # type: ignore[override]
        return DATA


class Buffers(OnlyRead):
    """Gives views of one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(20_000)

    def read(self, size: int = -1) -> bytes:
        return memoryview(self.buffer)[: self.file.readinto(self.buffer)]  # type: ignore[return-value]


def mapped(data: bytes = DATA) -> mmap.mmap:
    room = mmap.mmap(-1, len(data))
    room.write(data)
    room.seek(0)
    return room


def zip_member(data: bytes = DATA) -> Any:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("folder/photo.bmp", data)
    return zipfile.ZipFile(archive).open("folder/photo.bmp")


def upload(data: bytes = DATA) -> UploadFile:
    return UploadFile(io.BytesIO(data), filename="photo of a cat.bmp")


def fastapi_upload() -> fastapi.UploadFile:
    return fastapi.UploadFile(io.BytesIO(DATA), filename="photo.bmp")


class Decrypting(UploadFile):
    """Its `read` gives other bytes than the file it wraps."""

    async def read(self, size: int = -1) -> bytes:
        return bytes(255 - byte for byte in await super().read(size))


READ_ONCE = [OnlyRead, ShortReads, AsyncRead, NotYet, ReadsAll, Buffers, lambda: Pipe(DATA)]
READ_AGAIN = [lambda: io.BytesIO(DATA), mapped, zip_member, upload, fastapi_upload]


@pytest.mark.parametrize("make", [*READ_ONCE, *READ_AGAIN])
async def test_any_object_with_read_is_read_completely(make: Any) -> None:
    source = make()
    media = as_media(source)
    await media.measure()
    assert await media.head() == DATA[:SNIFF_BYTES]
    assert await read_media(media) == DATA
    if make in READ_AGAIN:
        assert (media.size, media.reopenable) == (len(DATA), True)
        assert await read_media(media) == DATA
    else:
        with pytest.raises(TransferFailed, match="cannot be read again"):
            await read_media(media)


async def test_an_upload_with_a_read_of_its_own_is_read_by_that() -> None:
    inverted = bytes(255 - byte for byte in DATA)
    assert await read_media(as_media(Decrypting(io.BytesIO(inverted)))) == DATA


def test_an_upload_has_the_name_of_its_file() -> None:
    assert as_media(upload()).name == "photo of a cat.bmp"
    assert as_media(OnlyRead()).name == "media"
    assert as_media(zip_member()).name == "photo.bmp"


async def test_an_object_that_gives_nothing_yet_for_a_minute_is_given_up() -> None:
    class Silent:
        def read(self, size: int) -> None:
            return None

    before = asyncio.get_running_loop().time()
    with pytest.raises(TransferFailed, match="gave no bytes for 60 s"):
        await as_media(Silent()).measure()
    assert asyncio.get_running_loop().time() - before < 61


@pytest.mark.parametrize("error", [ValueError("of the user's own"), OSError(5, "Input/output error"), AttributeError()])
async def test_whatever_an_object_raises_is_one_of_our_errors(error: Exception) -> None:
    class Raises:
        def read(self, size: int) -> bytes:
            raise error

    with pytest.raises(TransferFailed, match="could not be read to its end"):
        await as_media(Raises()).measure()


async def test_an_object_open_for_text_is_refused() -> None:
    class Text:
        async def read(self, size: int) -> str:
            return "text"

    with pytest.raises(TransferFailed, match="gave str where bytes were expected: open it for reading bytes"):
        await as_media(Text()).measure()


# streams


@pytest.mark.parametrize("size", [1, 7, 11, 70_000])
async def test_a_stream_is_recognised_however_small_its_blocks_are(size: int) -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield b""
        async for block in stream_in_blocks(DATA[:100_000], size):
            yield block
            yield b""

    media = as_media(drip())
    assert (await media.head())[:SNIFF_BYTES] == DATA[:SNIFF_BYTES]
    assert await read_media(media) == DATA[:100_000]


@pytest.mark.parametrize("view", [False, True])
async def test_a_buffer_that_a_stream_uses_again_is_copied(view: bool) -> None:
    async def one_buffer() -> AsyncIterator[Any]:
        buffer, source = bytearray(20_000), io.BytesIO(DATA)
        while count := source.readinto(buffer):
            if count < len(buffer):
                del buffer[count:]
            yield memoryview(buffer) if view and count == 20_000 else buffer

    blocks = [block async for block in as_media(one_buffer()).blocks()]
    assert b"".join(blocks) == DATA


@pytest.mark.parametrize("block", ["text", 7, None, [b"x"]])
async def test_a_stream_of_anything_but_bytes_is_refused(block: Any) -> None:
    with pytest.raises(TransferFailed, match="where bytes were expected"):
        await as_media(stream_of(block)).measure()


async def test_a_stream_whose_reading_was_cancelled_is_never_taken_for_complete() -> None:
    never = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield DATA[:1000]
        await never.wait()

    media = as_media(stalls())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await media.measure()
    with pytest.raises(TransferFailed, match="an earlier reading of it was interrupted"):
        await read_media(media)


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 50))
def test_no_byte_of_a_stream_is_lost_or_doubled(blocks: list[bytes], size: int) -> None:
    async def read() -> bytes:
        media = Stream(stream_of(*blocks), size=size)
        if b"".join(blocks):
            await media.measure()
        await media.head()
        return await read_media(media)

    assert asyncio.run(read()) == b"".join(blocks)


# two readers


async def test_two_calls_with_one_open_file_read_all_of_it_each(tmp_path: Path) -> None:
    path = tmp_path / "photo.bmp"
    path.write_bytes(b"before" + DATA * 9)
    with path.open("rb") as file:
        file.seek(6)
        media = [as_media(file) for _ in range(3)]

        async def send(one: Any) -> bytes:
            await one.measure()
            assert (await one.head())[:2] == b"BM"
            return await read_media(one)

        assert len(DATA) * 9 > BLOCK_SIZE
        assert await asyncio.gather(*map(send, media)) == [DATA * 9] * 3
        assert await send(as_media(file)) == DATA * 9  # and a call after them, too
        file.seek(6 + len(DATA))
        assert await send(as_media(file)) == DATA * 8


@pytest.mark.parametrize("make", [*READ_ONCE[:2], lambda: stream_in_blocks(DATA)])
async def test_a_second_call_with_what_can_be_read_once_is_refused_before_anything_is_sent(make: Any) -> None:
    source = make()
    first, second = as_media(source), as_media(source)
    await first.head()
    with pytest.raises(InvalidInput, match="passed twice, and it can be read only once: open it again"):
        await second.measure()
    assert await read_media(first) == DATA


async def test_an_iterable_that_begins_anew_each_time_may_be_passed_twice() -> None:
    class Blocks:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return stream_in_blocks(DATA)

    source = Blocks()
    first, second = as_media(source), as_media(source)
    await first.head()
    assert (await read_media(second), await read_media(first)) == (DATA, DATA)


async def test_an_object_of_a_type_without_a_hash_is_read() -> None:
    class Unhashable(OnlyRead):
        __hash__ = None  # type: ignore[assignment]
        __slots__ = ()

    class SeekableUnhashable(io.BytesIO):
        __hash__ = None  # type: ignore[assignment]

    for source in (Unhashable(), SeekableUnhashable(DATA)):
        assert await read_media(as_media(source)) == DATA


# URLs with data in them, and pixels


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:image/png;base64,QUJD", b"ABC"),
        ("DATA:IMAGE/PNG;Base64,QUJD", b"ABC"),
        ("data:;base64,QUJDRA==", b"ABCD"),
        ("data:;base64,QUJDRA", b"ABCD"),
        ("data:;base64,QUJDRA%3D%3D", b"ABCD"),
        ("data:image/png;charset=utf-8;base64,QU JD\nRA==", b"ABCD"),
        ("data:;base64,-_-_", b"\xfb\xff\xbf"),
        ("data:,a%20b", b"a b"),
    ],
)
async def test_a_data_url_is_its_content(url: str, data: bytes) -> None:
    media = as_media(url)
    await media.measure()
    assert (await read_media(media), media.size) == (data, len(data))


@pytest.mark.parametrize("url", ["data:;base64,", "data:,", "data:;base64,Q", "data:;base64,QU!D", "data:;base64,é"])
async def test_a_data_url_without_valid_content_is_refused_in_a_short_sentence(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await as_media(url).measure()
    assert len(caught.value.message) < 100


@pytest.mark.parametrize("name", ["x" * 500_000, "data:image/png" + "x" * 5000])
async def test_an_error_about_a_path_is_short(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await as_media(name).measure()
    assert len(caught.value.message) < 300


async def test_a_spooled_stream_can_be_read_again_and_its_file_is_closed_with_it() -> None:
    spooled = await spool_stream(as_media(stream_in_blocks(DATA), name="photo.bmp"))
    assert (await read_media(spooled), await read_media(spooled)) == (DATA, DATA)
    assert (spooled.name, spooled.size, spooled.reopenable) == ("photo.bmp", len(DATA), True)
    file = spooled.file
    del spooled
    assert file.closed


async def test_a_file_that_is_closed_before_it_is_read_is_a_failed_transfer() -> None:
    file = io.BytesIO(DATA)
    media = OpenFile(file)
    await media.measure()
    file.close()
    with pytest.raises(WatermarkError, match=r"not open for reading|could not be read"):
        await read_media(media)
