"""The two video examples run unchanged; the service reads a request body no faster than the provider accepts it."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import aiohttp
import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.http_server import free_port, serve_application
from tests.support.media_host import Exchange, MediaHost
from tests.support.processes import REPOSITORY, run_python, start_python
from tests.support.videos import make_mp4

EXAMPLES = REPOSITORY / "examples"


def import_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def key_variable(emulator: Emulator) -> dict[str, str]:
    """The environment variable with the emulator's key."""
    return {"DEWATERMARK_API_KEY": str(emulator.keys["dewatermark"])}


async def test_the_progress_example_draws_the_upload_and_saves_the_result(
    emulator: Emulator, key_variable: dict[str, str], clip: Path, tmp_path: Path
) -> None:
    target = tmp_path / "clean.mp4"
    arguments = (clip, target, "--base-url", emulator.base_url, "--interval", "0.05")
    finished = await run_python(EXAMPLES / "upload_with_progress.py", *arguments, variables=key_variable)
    assert finished.code == 0, finished.text
    assert "uploading" in finished.text
    assert f"[{'#' * 30}] 100% 3.0 of 3.0 MB" in finished.text
    assert "succeeded" in finished.text
    assert target.read_bytes() == clip.read_bytes()
    assert emulator.charged["dewatermark"] == 1


async def upload(session: aiohttp.ClientSession, url: str, path: Path) -> str:
    """Upload a video, retrying until the service listens; returns the token in its answer."""
    for _ in range(200):
        try:
            with path.open("rb") as video:
                async with session.put(f"{url}/videos", data=video) as response:
                    assert response.status == 202, await response.text()
                    return str((await response.json())["token"])
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.05)
    raise AssertionError("the service did not listen")


async def test_the_service_forwards_a_video_and_answers_with_a_token(
    emulator: Emulator, key_variable: dict[str, str], clip: Path
) -> None:
    port = free_port()
    arguments = ("--base-url", emulator.base_url, "--port", str(port))
    service = await start_python(EXAMPLES / "stream_through_service.py", *arguments, variables=key_variable)
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        token = await upload(session, url, clip)
        async with session.put(f"{url}/videos", data=b"") as response:
            assert response.status == 411
        async with aw.Client(emulator.provider("dewatermark")) as client:
            assert await (await client.resume(token)).read() == clip.read_bytes()
    service.process.send_signal(signal.SIGTERM)
    finished = await service.finish()
    assert finished.code == 0, finished.text
    assert "Traceback" not in finished.text
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
