"""Files lent to providers that accept only URLs: ranges, expiry and slow readers, the same way at every mount."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

import aiowatermark as aw
from aiowatermark.callbacks import lent
from aiowatermark.callbacks.registry import registry_of
from tests.support.callback_mounts import MOUNTS, request, send_raw, serve_mounted, status_of
from tests.support.waiting import wait_until

DATA = bytes(range(256)) * 8000


@pytest.fixture
def receiver() -> aw.CallbackReceiver:
    return aw.CallbackReceiver("https://hooks.example.com/wm")


def lend(receiver: aw.CallbackReceiver, media: aw.Media) -> tuple[str, str]:
    """Lend media; returns the path of its link and the hash to end it."""
    link, key_hash = registry_of(receiver).serve_media(media)
    return link.url.removeprefix("https://hooks.example.com"), key_hash


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_provider_can_resume_a_download(receiver: aw.CallbackReceiver, mount: str, tmp_path: Path) -> None:
    file = tmp_path / "photo é.png"
    file.write_bytes(DATA)
    media = aw.as_media(file)
    await media.measure()
    path, _ = lend(receiver, media)
    async with serve_mounted(receiver, mount) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}{path}"
        async with session.get(url) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            assert response.headers["Accept-Ranges"] == "bytes"
            assert await response.read() == DATA
        async with session.get(url, headers={"Range": "bytes=1500000-"}) as response:
            assert (response.status, response.headers["Content-Range"]) == (206, "bytes 1500000-2047999/2048000")
            assert await response.read() == DATA[1_500_000:]
        async with session.head(url, headers={"Range": "bytes=0-9"}) as response:
            assert (response.status, response.content_length) == (206, 10)
        async with session.get(url, headers={"Range": "bytes=2048000-"}) as response:
            assert (response.status, await response.read()) == (416, b"")


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_link_ends_with_its_job_and_takes_no_deliveries(receiver: aw.CallbackReceiver, mount: str) -> None:
    path, key_hash = lend(receiver, aw.as_media(DATA, name="a.png"))
    async with serve_mounted(receiver, mount) as port:
        assert status_of(await send_raw(port, request(path))) == 404  # a POST
        assert status_of(await send_raw(port, request(path, b"", "HEAD"))) == 200
        registry_of(receiver).stop_serving(key_hash)
        assert status_of(await send_raw(port, request(path, b"", "GET"))) == 404


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_peer_that_does_not_read_is_dropped(
    receiver: aw.CallbackReceiver, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bridge in ("aiohttp", "asgi"):
        monkeypatch.setattr(f"aiowatermark.callbacks.{bridge}.PIECE_SECONDS", 0.2)
    path, key_hash = lend(receiver, aw.as_media(DATA * 8, name="a.png"))
    served = registry_of(receiver)._served[key_hash]
    async with serve_mounted(receiver, mount) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(request(path, b"", "GET"))
        await wait_until(lambda: served.readers == 1)
        await wait_until(lambda: served.readers == 0)
        writer.close()


@pytest.mark.parametrize("mount", MOUNTS)
async def test_the_readers_of_one_link_are_limited(receiver: aw.CallbackReceiver, mount: str) -> None:
    path, key_hash = lend(receiver, aw.as_media(DATA * 8, name="a.png"))
    served = registry_of(receiver)._served[key_hash]
    async with serve_mounted(receiver, mount) as port:
        writers = []
        for number in range(lent.MAX_READERS):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(request(path, b"", "GET"))
            writers.append(writer)
            await wait_until(lambda readers=number + 1: served.readers == readers)  # type: ignore[misc]
        assert status_of(await send_raw(port, request(path, b"", "GET"))) == 429
        for writer in writers:
            writer.transport.abort()
        await wait_until(lambda: served.readers == 0)
        assert status_of(await send_raw(port, request(path, b"", "HEAD"))) == 200


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_file_that_has_become_unreadable_ends_the_answer_early(
    receiver: aw.CallbackReceiver, mount: str, tmp_path: Path
) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(DATA)
    media = aw.as_media(file)
    await media.measure()
    path, _ = lend(receiver, media)
    file.unlink()
    async with serve_mounted(receiver, mount) as port:
        response = await send_raw(port, request(path, b"", "GET"))
    assert status_of(response) in {0, 200}  # never complete, never a 5xx
    assert len(response) < 1000
