"""The two examples about films run as they stand; the service reads no faster than the provider takes."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator

if TYPE_CHECKING:
    from .conftest import Host, Line

EXAMPLES = Path(__file__).parents[3] / "examples"


async def started(name: str, *arguments: str, key: str) -> asyncio.subprocess.Process:
    """An example in a process of its own, a warning being an error."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(EXAMPLES / name), *arguments),
        env={"PYTHONPATH": str(EXAMPLES.parent), "PATH": "", "DEWATERMARK_API_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_an_upload_shows_its_bar(emulator: Emulator, clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "clean.mp4"
    arguments = (str(clip), str(target), "--base-url", emulator.base_url, "--every", "0.05")
    process = await started("upload_with_progress.py", *arguments, key=str(emulator.keys["dewatermark"]))
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    assert "uploading" in said
    assert f"[{'#' * 30}] 100% 3.0 of 3.0 MB" in said
    assert "succeeded" in said
    assert target.read_bytes() == clip.read_bytes()
    assert emulator.charged["dewatermark"] == 1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


async def up(session: aiohttp.ClientSession, url: str, path: Path) -> Any:
    """Send a film as soon as somebody listens; gives the answer."""
    for _ in range(200):
        try:
            with path.open("rb") as film:
                async with session.put(f"{url}/films", data=film) as answer:
                    assert answer.status == 202, await answer.text()
                    return await answer.json()
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.05)
    raise AssertionError("nobody listened")


async def test_a_service_hands_a_users_film_on_and_answers_with_a_token(emulator: Emulator, clip: Path) -> None:
    port = free_port()
    arguments = ("--base-url", emulator.base_url, "--port", str(port))
    process = await started("stream_through_service.py", *arguments, key=str(emulator.keys["dewatermark"]))
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        token = (await up(session, url, clip))["token"]
        async with session.put(f"{url}/films", data=b"") as answer:
            assert answer.status == 411
        async with aw.Client(emulator.provider("dewatermark")) as client:
            assert await (await client.resume(token)).read() == clip.read_bytes()
    process.send_signal(signal.SIGTERM)
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert emulator.charged["dewatermark"] == 1


async def test_nothing_is_read_from_the_user_while_the_provider_takes_nothing(host: Host, ways: Any) -> None:
    size, block = 96 << 20, bytes(1 << 20)
    go_on = asyncio.Event()
    pulled, taken = 0, 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(size // len(block)):
            pulled += len(block)
            yield block

    async def patient(line: Line) -> None:
        nonlocal taken
        await go_on.wait()
        while taken < size:
            taken += len(await line.read(min(1 << 20, size - taken)))
        line.say(200)

    host.puts = [patient]
    async with (
        serving(loaded("stream_through_service").service(host.provider())) as url,
        aiohttp.ClientSession() as session,
    ):
        headers = {"Content-Length": str(size)}
        sending = asyncio.ensure_future(session.put(f"{url}/films", data=body(), headers=headers))
        await asyncio.wait({sending}, timeout=0.7)
        assert not sending.done()
        assert pulled < size // 2  # what the sockets in between hold, and not more
        go_on.set()
        async with await sending as answer:
            assert answer.status == 202
    assert (pulled, taken, len(host.starts)) == (size, size, 1)


async def test_a_user_who_hangs_up_costs_nothing(host: Host, ways: Any) -> None:
    reached, left = asyncio.Event(), asyncio.Event()

    async def waiting(line: Line) -> None:
        reached.set()
        await line.read(line.taken.length)
        left.set()

    host.puts = [waiting]
    async with serving(loaded("stream_through_service").service(host.provider())) as url:
        parts = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(parts[0], int(parts[1]))
        writer.write(b"PUT /films HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + ways.film(1_000_000))
        await writer.drain()
        await reached.wait()
        writer.transport.abort()
        await left.wait()
    assert (host.stored, host.starts) == ([], [])
