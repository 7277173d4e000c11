"""The example that streams videos through a service reads a request body no faster than the provider accepts it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.examples import EXAMPLES, import_example
from tests.support.http_server import serve_application
from tests.support.media_host import Exchange, MediaHost
from tests.support.processes import run_python
from tests.support.restored_media import read_frames
from tests.support.videos import make_mp4


async def test_the_progress_example_draws_the_upload_and_saves_the_result(tmp_path: Path) -> None:
    finished = await run_python(EXAMPLES / "video_with_progress.py", folder=tmp_path)
    assert finished.code == 0, finished.text
    assert re.search(rf"uploading +\[{'#' * 30}] 100% (\S+) of \1 MB", finished.text)
    assert "succeeded" in finished.text
    clean, clip = (tmp_path / f"{name}.mp4" for name in ("clean", "clip"))
    assert len(list(read_frames(clean))) == len(list(read_frames(clip))) == 50


async def test_the_service_forwards_a_video_and_answers_with_a_token(emulator: Emulator, clip: Path) -> None:
    service = import_example("stream_through_service")
    async with (
        serve_application(service.create_app(emulator.provider("dewatermark"))) as url,
        aiohttp.ClientSession(url) as session,
    ):
        with clip.open("rb") as video:
            async with session.put("/videos", data=video) as response:
                assert response.status == 202, await response.text()
                token = (await response.json())["token"]
        vars(service)["MAX_UPLOAD"] = 10
        for body, status in [(b"", 411), (b"eleven byte", 413)]:
            async with session.put("/videos", data=body) as response:
                assert response.status == status
        async with session.get("/videos/no-token") as response:
            assert response.status == 400
        async with aw.Client(emulator.provider("dewatermark")) as client:
            assert await (await client.resume(token)).read() == clip.read_bytes()
    assert emulator.charged["dewatermark"] == 1


async def test_the_service_reads_nothing_while_the_provider_accepts_nothing(host: MediaHost) -> None:
    size, block = 96 << 20, bytes(1 << 20)
    accepting = asyncio.Event()
    sent, accepted = 0, 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(size // len(block)):
            sent += len(block)
            yield block

    async def wait_then_accept(exchange: Exchange) -> None:
        nonlocal accepted
        await accepting.wait()
        while accepted < size:
            accepted += len(await exchange.read(min(1 << 20, size - accepted)))
        exchange.respond(200)

    host.upload_handlers = [wait_then_accept]
    async with (
        serve_application(import_example("stream_through_service").create_app(host.provider())) as url,
        aiohttp.ClientSession() as session,
    ):
        headers = {"Content-Length": str(size)}
        put = asyncio.ensure_future(session.put(f"{url}/videos", data=body(), headers=headers))
        await asyncio.wait({put}, timeout=0.7)
        assert not put.done()
        assert sent < size // 2  # socket buffers hold less than that
        accepting.set()
        async with await put as response:
            assert response.status == 202
    assert (sent, accepted, len(host.start_requests)) == (size, size, 1)


async def test_a_user_who_disconnects_during_the_upload_is_not_charged(host: MediaHost) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def read_until_end(exchange: Exchange) -> None:
        started.set()
        await exchange.read(exchange.request.length)
        ended.set()

    host.upload_handlers = [read_until_end]
    async with serve_application(import_example("stream_through_service").create_app(host.provider())) as url:
        address = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(address[0], int(address[1]))
        writer.write(b"PUT /videos HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + make_mp4(1_000_000))
        await writer.drain()
        await started.wait()
        writer.transport.abort()
        await ended.wait()
    assert (host.stored, host.start_requests) == ([], [])
