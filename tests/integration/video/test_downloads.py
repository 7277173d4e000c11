"""The way down: into a part beside the target, resumed where it was cut, whole or not there at all."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aiowatermark as aw
from aiowatermark.transport.http import HttpTransport

if TYPE_CHECKING:
    from .conftest import Host, Line, Way

SIZE = 3_000_001


@pytest.fixture
def result(host: Host, ways: Any) -> bytes:
    """What the host has for download."""
    host.result = ways.film(SIZE)
    return host.result


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def fetched(host: Host, target: Path, *, stall: float = 30.0, max_bytes: int | None = None) -> bytes:
    """The result on disk, as `save` fetches it."""
    async with HttpTransport(host.provider(), stall=stall) as transport:
        await transport.download(f"{host.origin}/result%2Ffilm?sig=a%2Fb", target, max_bytes)
    return target.read_bytes()


def broken(after: int, **headers: str) -> Way:
    """A whole answer's head, and so much of its body."""

    async def way(line: Line) -> None:
        line.head(200, len(line.host.result), **{"ETag": '"one"', **headers})
        line.writer.write(line.host.result[:after])
        await line.writer.drain()
        line.writer.close()

    return way


def says(status: int, body: bytes = b"", **headers: str) -> Way:
    async def way(line: Line) -> None:
        line.say(status, body, **headers)

    return way


@pytest.mark.parametrize("after", [0, 1, 1_500_000, SIZE - 1])
async def test_a_download_that_is_cut_goes_on_from_there(host: Host, result: bytes, tmp_path: Path, after: int) -> None:
    host.downs = [broken(after)]
    assert await fetched(host, tmp_path / "out") == result
    first, second = host.downloads
    assert "range" not in first.headers
    assert second.headers.get("range") == (f"bytes={after}-" if after else None)
    assert second.headers.get("if-range") == ('"one"' if after else None)
    assert second.target == "/result%2Ffilm?sig=a%2Fb"
    assert names(tmp_path) == ["out"]


async def test_a_film_that_changed_in_between_starts_over(host: Host, result: bytes, tmp_path: Path) -> None:
    host.downs = [broken(1_000_000, ETag='"old"'), says(200, result, ETag='"new"')]
    assert await fetched(host, tmp_path / "out") == result
    assert host.downloads[1].headers["if-range"] == '"old"'


async def test_without_a_validator_nothing_is_glued_together(host: Host, result: bytes, tmp_path: Path) -> None:
    host.downs = [broken(1_000_000, ETag='W/"weak"')]
    assert await fetched(host, tmp_path / "out") == result
    assert "range" not in host.downloads[1].headers


async def test_another_range_than_was_asked_for_is_refused(host: Host, result: bytes, tmp_path: Path) -> None:
    host.downs = [broken(1_000_000), says(206, b"x", Content_Range=f"bytes 5-5/{SIZE}")]
    with pytest.raises(aw.TransferFailed, match="another range"):
        await fetched(host, tmp_path / "out")
    assert names(tmp_path) == []


async def test_a_range_that_is_not_to_be_had_starts_over(host: Host, result: bytes, tmp_path: Path) -> None:
    host.downs = [broken(1_000_000), says(416, Content_Range="bytes */500")]
    assert await fetched(host, tmp_path / "out") == result
    assert "range" not in host.downloads[2].headers


async def test_a_film_that_was_whole_already_is_whole(host: Host, result: bytes, tmp_path: Path) -> None:
    async def endless(line: Line) -> None:
        line.head(200, None, ETag='"one"', Transfer_Encoding="chunked")
        line.writer.write(b"%x\r\n%b\r\n" % (SIZE, result))
        await line.writer.drain()
        line.writer.close()

    host.downs = [endless, says(416, Content_Range=f"bytes */{SIZE}")]
    assert await fetched(host, tmp_path / "out") == result


async def test_a_download_that_stands_still_goes_on_from_there(host: Host, result: bytes, tmp_path: Path) -> None:
    async def still(line: Line) -> None:
        line.head(200, SIZE, ETag='"one"')
        line.writer.write(result[:1_000_000])
        await line.writer.drain()
        await host.closing.wait()

    host.downs = [still]
    assert await fetched(host, tmp_path / "out", stall=0.3) == result
    assert host.downloads[1].headers["range"] == "bytes=1000000-"


@pytest.mark.parametrize("known", [True, False])
async def test_more_than_was_allowed_is_refused_and_leaves_nothing(
    host: Host, result: bytes, tmp_path: Path, *, known: bool
) -> None:
    async def unknown(line: Line) -> None:
        line.head(200, None, Connection="close")
        line.writer.write(result)
        await line.writer.drain()
        line.writer.close()

    host.downs = [] if known else [unknown]
    with pytest.raises(aw.TransferFailed, match="more than the 1000000 bytes"):
        await fetched(host, tmp_path / "out", max_bytes=1_000_000)
    assert names(tmp_path) == []
    assert len(host.downloads) == 1


async def test_five_gibibytes_that_are_not_allowed_are_refused_by_their_head(host: Host, tmp_path: Path) -> None:
    async def vast(line: Line) -> None:
        line.head(200, 5 << 30)
        line.writer.write(bytes(1000))

    host.downs = [vast]
    with pytest.raises(aw.TransferFailed, match="more than"):
        await fetched(host, tmp_path / "out", max_bytes=1 << 30)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk on which no file gets larger: the system itself refuses to write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_takes_no_more_is_one_clear_sentence_and_leaves_nothing(
    host: Host, result: bytes, tmp_path: Path
) -> None:
    with (
        files_of_at_most(1_000_000),
        pytest.raises(aw.TransferFailed, match="out could not be written: File too large"),
    ):
        await fetched(host, tmp_path / "out")
    assert names(tmp_path) == []
    assert len(host.downloads) == 1


async def test_what_was_there_stays_until_the_new_one_is_whole(host: Host, result: bytes, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"before")
    host.downs = [broken(10)] * 20
    with pytest.raises(aw.TransferFailed, match=rf"fetched whole, \d+ of {SIZE} bytes came"):
        await fetched(host, target)
    assert target.read_bytes() == b"before"
    host.downs.clear()
    assert await fetched(host, target) == result


async def test_a_download_that_is_called_off_leaves_nothing(host: Host, result: bytes, tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def half(line: Line) -> None:
        line.head(200, SIZE)
        line.writer.write(result[: SIZE // 2])
        await line.writer.drain()
        reached.set()
        await host.closing.wait()

    host.downs = [half]
    saving = asyncio.ensure_future(fetched(host, tmp_path / "out"))
    await reached.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert names(tmp_path) == []


async def test_a_film_is_read_into_memory_too(host: Host, result: bytes) -> None:
    host.downs = [broken(2_000_000)]
    async with HttpTransport(host.provider()) as transport:
        assert await transport.read(f"{host.origin}/result/film", None) == result
