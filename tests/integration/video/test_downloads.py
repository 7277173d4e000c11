"""Downloads: written next to the target, resumed where they were cut, and complete or not there at all."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.transport.http import HttpTransport
from tests.support.files import list_names
from tests.support.media_host import Exchange, MediaHost, RequestHandler, close_after, serve_without_length
from tests.support.videos import make_mp4

SIZE = 3_000_001


@pytest.fixture
def result(host: MediaHost) -> bytes:
    """The video that the host serves."""
    host.result = make_mp4(SIZE)
    return host.result


async def download(host: MediaHost, target: Path, *, stall: float = 30.0, max_bytes: int | None = None) -> bytes:
    """Download the result, as `save` does, and return the file's bytes."""
    async with HttpTransport(host.provider(), stall=stall) as transport:
        await transport.download(f"{host.origin}/result%2Fvideo?sig=a%2Fb", target, max_bytes)
    return target.read_bytes()


def respond(status: int, body: bytes = b"", **headers: str) -> RequestHandler:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(status, body, **headers)

    return handler


@pytest.mark.parametrize("after", [0, 1, 1_500_000, SIZE - 1])
async def test_a_download_that_is_cut_is_resumed_there(
    host: MediaHost, result: bytes, tmp_path: Path, after: int
) -> None:
    host.download_handlers = [close_after(after)]
    assert await download(host, tmp_path / "out") == result
    first, second = host.downloads
    assert "range" not in first.headers
    assert second.headers.get("range") == (f"bytes={after}-" if after else None)
    assert second.headers.get("if-range") == ('"one"' if after else None)
    assert second.target == "/result%2Fvideo?sig=a%2Fb"
    assert list_names(tmp_path) == ["out"]


async def test_a_result_that_changed_since_the_cut_is_downloaded_from_the_start(
    host: MediaHost, result: bytes, tmp_path: Path
) -> None:
    host.download_handlers = [close_after(1_000_000, etag='"old"'), respond(200, result, ETag='"new"')]
    assert await download(host, tmp_path / "out") == result
    assert host.downloads[1].headers["if-range"] == '"old"'


async def test_a_download_without_a_strong_validator_starts_from_the_beginning(
    host: MediaHost, result: bytes, tmp_path: Path
) -> None:
    host.download_handlers = [close_after(1_000_000, etag='W/"weak"')]
    assert await download(host, tmp_path / "out") == result
    assert "range" not in host.downloads[1].headers


async def test_a_download_starts_over_after_a_range_other_than_the_requested_one(
    host: MediaHost, result: bytes, tmp_path: Path
) -> None:
    host.download_handlers = [close_after(1_000_000), respond(206, b"x", Content_Range=f"bytes 5-5/{SIZE}")]
    assert await download(host, tmp_path / "out") == result
    assert "range" not in host.downloads[2].headers


async def test_a_range_that_cannot_be_satisfied_restarts_the_download(
    host: MediaHost, result: bytes, tmp_path: Path
) -> None:
    host.download_handlers = [close_after(1_000_000), respond(416, Content_Range="bytes */500")]
    assert await download(host, tmp_path / "out") == result
    assert "range" not in host.downloads[2].headers


async def test_a_range_that_starts_at_the_end_restarts_the_download(
    host: MediaHost, result: bytes, tmp_path: Path
) -> None:
    async def never_end(exchange: Exchange) -> None:
        exchange.send_head(200, None, ETag='"one"', Transfer_Encoding="chunked")
        await exchange.send_and_close(b"%x\r\n%b\r\n" % (SIZE, result))

    host.download_handlers = [never_end, respond(416, Content_Range=f"bytes */{SIZE}")]
    assert await download(host, tmp_path / "out") == result


async def test_a_download_that_stalls_is_resumed_there(host: MediaHost, result: bytes, tmp_path: Path) -> None:
    async def stall_after_a_megabyte(exchange: Exchange) -> None:
        exchange.send_head(200, SIZE, ETag='"one"')
        exchange.writer.write(result[:1_000_000])
        await exchange.writer.drain()
        await host.closing.wait()

    host.download_handlers = [stall_after_a_megabyte]
    assert await download(host, tmp_path / "out", stall=0.3) == result
    assert host.downloads[1].headers["range"] == "bytes=1000000-"


async def test_a_host_that_sends_only_what_surrounds_a_chunk_has_stalled(
    host: MediaHost, result: bytes, tmp_path: Path
) -> None:
    async def extend_a_chunk_for_ever(exchange: Exchange) -> None:
        exchange.send_head(200, None, ETag='"one"', Transfer_Encoding="chunked")
        exchange.writer.write(b"4\r\n%b\r\n4;" % result[:4])
        while not host.closing.is_set():
            exchange.writer.write(b"x")
            await asyncio.sleep(0.01)

    host.download_handlers = [extend_a_chunk_for_ever]
    assert await download(host, tmp_path / "out", stall=0.3) == result
    assert host.downloads[1].headers["range"] == "bytes=4-"


async def test_a_download_sets_no_timer_for_each_block(
    host: MediaHost, result: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers, blocks = [], []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def counted_call_at(when: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *arguments, **options)

    async def send_in_small_packets(exchange: Exchange) -> None:
        exchange.send_head(200, SIZE, ETag='"one"')
        for start in range(0, SIZE, 5000):
            exchange.writer.write(result[start : start + 5000])
            await asyncio.sleep(0)  # the client reads

    host.download_handlers = [send_in_small_packets]
    async with HttpTransport(host.provider()) as transport:
        monkeypatch.setattr(loop, "call_at", counted_call_at)
        await transport.download(f"{host.origin}/result", tmp_path / "out", None, lambda *_: blocks.append(1))
    assert (tmp_path / "out").read_bytes() == result
    assert len(blocks) > 100
    assert len(timers) < 20


@pytest.mark.parametrize("announced", [True, False])
async def test_a_result_above_the_limit_is_refused_and_leaves_no_file(
    host: MediaHost, result: bytes, tmp_path: Path, *, announced: bool
) -> None:
    host.download_handlers = [] if announced else [serve_without_length]
    with pytest.raises(aw.TransferFailed, match="more than the 1000000 bytes"):
        await download(host, tmp_path / "out", max_bytes=1_000_000)
    assert list_names(tmp_path) == []
    assert len(host.downloads) == 1


async def test_an_announced_length_above_the_limit_is_refused_before_the_body(host: MediaHost, tmp_path: Path) -> None:
    async def announce_five_gibibytes(exchange: Exchange) -> None:
        exchange.send_head(200, 5 << 30)
        exchange.writer.write(bytes(1000))

    host.download_handlers = [announce_five_gibibytes]
    with pytest.raises(aw.TransferFailed, match="more than"):
        await download(host, tmp_path / "out", max_bytes=1 << 30)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Limit the size of files this process may write, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_reported_in_one_sentence_and_leaves_no_file(
    host: MediaHost, result: bytes, tmp_path: Path
) -> None:
    with (
        file_size_limit(1_000_000),
        pytest.raises(aw.TransferFailed, match="out could not be written: File too large"),
    ):
        await download(host, tmp_path / "out")
    assert list_names(tmp_path) == []
    assert len(host.downloads) == 1


async def test_an_existing_target_stays_until_the_download_is_complete(
    host: MediaHost, result: bytes, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"before")
    host.download_handlers = [close_after(10)] * 20
    with pytest.raises(aw.TransferFailed, match=rf"fetched whole, \d+ of {SIZE} bytes came"):
        await download(host, target)
    assert target.read_bytes() == b"before"
    host.download_handlers.clear()
    assert await download(host, target) == result


async def test_a_cancelled_download_leaves_no_file(host: MediaHost, result: bytes, tmp_path: Path) -> None:
    half_sent = asyncio.Event()

    async def send_half(exchange: Exchange) -> None:
        exchange.send_head(200, SIZE)
        exchange.writer.write(result[: SIZE // 2])
        await exchange.writer.drain()
        half_sent.set()
        await host.closing.wait()

    host.download_handlers = [send_half]
    saving = asyncio.ensure_future(download(host, tmp_path / "out"))
    await half_sent.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert list_names(tmp_path) == []


async def test_a_result_read_into_memory_is_resumed_too(host: MediaHost, result: bytes) -> None:
    host.download_handlers = [close_after(2_000_000)]
    async with HttpTransport(host.provider()) as transport:
        assert await transport.read(f"{host.origin}/result/video", None) == result
