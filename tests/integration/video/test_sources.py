"""Every source a film may come from goes up whole; what can be read once is sent once."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aiowatermark as aw

if TYPE_CHECKING:
    from .conftest import Host, Line


async def pieces(data: bytes, size: int = 65_537) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "open file", "memory file", "sized", "unsized"])
async def test_any_source_goes_up_whole(host: Host, tmp_path: Path, ways: Any, kind: str) -> None:
    data = ways.film(2_000_003)
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    prefixed = tmp_path / "prefixed.mp4"
    prefixed.write_bytes(b"before" + data)
    with prefixed.open("rb") as opened:
        opened.seek(6)
        sources: dict[str, Any] = {
            "path": path,
            "text": str(path),
            "bytes": data,
            "open file": opened,
            "memory file": io.BytesIO(data),
            "sized": pieces(data),
            "unsized": pieces(data),
        }
        options: dict[str, Any] = {"size": len(data)} if kind == "sized" else {}
        async with host.client() as client:
            await client.remove(sources[kind], **options)
    assert host.stored == [data]
    assert host.uploads[0].length == len(data)


async def test_an_open_file_is_read_again_from_where_it_stood(host: Host, clip: Path, ways: Any) -> None:
    host.puts = [ways.cut(1_000_000)]
    with clip.open("rb") as opened:
        async with host.client() as client:
            await client.remove(opened)
        assert not opened.closed
    assert host.stored == [clip.read_bytes()]


async def test_a_link_is_passed_on_without_touching_the_disk(
    host: Host, ways: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.result = ways.film(4_000_000)

    def none(*_: Any, **__: Any) -> Any:
        raise AssertionError("the disk was touched")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", none)
    async with host.client() as client:
        await client.remove(f"{host.origin}/result/film.mp4?sig=a%2Fb")
    assert host.stored == [host.result]
    assert host.downloads[0].target == "/result/film.mp4?sig=a%2Fb"
    assert "x-api-key" not in host.downloads[0].headers


async def test_a_link_is_opened_anew_for_each_attempt(host: Host, ways: Any) -> None:
    host.result = ways.film(2_000_000)
    host.puts = [ways.cut(500_000), ways.refused(503)]
    async with host.client() as client:
        await client.remove(f"{host.origin}/result/film.mp4")
    assert (len(host.downloads), host.stored) == (3, [host.result])


@pytest.mark.parametrize("left", [0, 1_000_000])
async def test_a_link_that_breaks_off_is_opened_anew(host: Host, ways: Any, left: int) -> None:
    host.result = ways.film(2_000_000)

    async def broken(line: Line) -> None:
        line.head(200, len(host.result))
        line.writer.write(host.result[:left])
        await line.writer.drain()
        line.writer.close()

    host.downs = [broken, broken]
    async with host.client() as client:
        await client.remove(f"{host.origin}/result/film.mp4")
    assert (host.stored, len(host.starts)) == ([host.result], 1)


async def test_a_link_of_unknown_size_goes_through_a_spool_that_is_gone_afterwards(
    host: Host, ways: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ways.film(900_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def endless(line: Line) -> None:
        line.head(200, None, Connection="close")
        line.writer.write(data)
        await line.writer.drain()
        line.writer.close()

    host.downs = [endless]
    async with host.client() as client:
        await client.remove(f"{host.origin}/result/film.mp4")
    assert host.stored == [data]
    assert list(tmp_path.iterdir()) == []


async def test_a_stream_that_broke_off_is_not_sent_again_and_the_error_says_so(host: Host, ways: Any) -> None:
    data = ways.film(3_000_000)
    host.puts = [ways.cut(1_000_000)]
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match=r"read only once and is not sent again: give a path"):
            await client.remove(pieces(data), size=len(data))
    assert (len(host.uploads), host.starts) == (1, [])


@pytest.mark.parametrize("declared", [-1000, 1000])
async def test_a_stream_of_another_length_than_declared_is_one_clear_error(
    host: Host, ways: Any, declared: int
) -> None:
    data = ways.film(1_000_000)
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match="changed its size while it was sent"):
            await client.remove(pieces(data), size=len(data) + declared)
    assert (host.stored, host.starts) == ([], [])


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("the user's own")])
async def test_a_source_that_breaks_is_one_clear_error(host: Host, ways: Any, error: Exception) -> None:
    data = ways.film(1_000_000)

    async def broken() -> AsyncIterator[bytes]:
        yield data[:600_000]
        raise error

    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match=r"could not be read to its end: (Input/output error|RuntimeError)"):
            await client.remove(broken(), size=len(data))
    assert (host.stored, host.starts) == ([], [])


@pytest.mark.parametrize("kind", ["path", "bytes", "open file", "stream"])
async def test_nothing_at_all_is_refused_before_anything_is_asked(host: Host, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with path.open("rb") as opened:
        sources: dict[str, Any] = {"path": path, "bytes": b"", "open file": opened, "stream": pieces(b"")}
        async with host.client() as client:
            with pytest.raises(aw.InvalidInput, match="empty"):
                await client.remove(sources[kind])
    assert host.taken == []
