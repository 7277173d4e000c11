"""Requests and transfers over real sockets: what travels, what does not, and what happens when it breaks."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator, Fault
from aiowatermark.transport.atomic_file import atomic_file, write_blocks
from aiowatermark.transport.url_guard import is_public

Picture = Callable[..., bytes]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr("aiowatermark.transport.retry.backoff.full_jitter", lambda _: 0.0)


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """An address at which one handler answers everything."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def saved(emulator: Emulator, tmp_path: Path, picture: bytes, **settings: Any) -> bytes:
    async with aw.Client(emulator.provider("picwish"), **settings) as client:
        result = await client.remove(picture)
        path = await result.save(tmp_path / "clean.jpg")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["gptge", "picwish", "kaze", "dewatermark"])
async def test_a_picture_goes_up_and_comes_down_whole(
    emulator: Emulator, tmp_path: Path, picture: Picture, name: str
) -> None:
    data = picture(padding=700_000)
    source = tmp_path / "photo.jpg"
    source.write_bytes(data)
    async with aw.Client(emulator.provider(name)) as client:
        result = await client.remove(source)
        path = await result.save(tmp_path / "clean.jpg")
        assert path.read_bytes() == data == await result.read()
    assert emulator.charged[name] == 1
    assert emulator.leaks == 0


@pytest.mark.parametrize("kind", ["bytes", "file", "stream", "sized stream", "unseekable"])
async def test_any_source_goes_up_whole(emulator: Emulator, tmp_path: Path, picture: Picture, kind: str) -> None:
    data = picture(padding=600_001)

    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65_537):
            yield data[start : start + 65_537]

    path = tmp_path / "p.jpg"
    path.write_bytes(b"before" + data)
    options: dict[str, Any] = {"size": len(data)} if kind == "sized stream" else {}
    with path.open("rb") as opened:
        opened.seek(6)
        sources: dict[str, Any] = {"bytes": data, "file": opened, "stream": blocks(), "sized stream": blocks()}
        sources["unseekable"] = _Pipe(data)
        async with aw.Client(emulator.provider("kaze")) as client:
            result = await client.remove(sources[kind], **options)
            assert await result.read() == data


class _Pipe:
    """A binary file that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int = -1) -> bytes:
        part, self.data = self.data[:size], self.data[size:]
        return part

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("name", ["gptge", "picwish", "kaze", "dewatermark"])
async def test_an_answer_lost_after_the_work_is_paid_once_and_in_doubt(
    emulator: Emulator, picture: Picture, name: str
) -> None:
    emulator.inject(Fault.dropped_after(), provider=name, step="submit")
    async with aw.Client(emulator.provider(name)) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(picture())
    assert emulator.charged[name] == 1


@pytest.mark.parametrize("fault", [Fault.dropped_before(), Fault.garbage(), Fault.status(500), Fault.stalled()])
async def test_nothing_that_breaks_after_bytes_left_is_sent_again(
    emulator: Emulator, picture: Picture, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowatermark.client.engine.submit.SUBMIT_TIMEOUT", 0.2)
    emulator.inject(fault, provider="picwish", step="submit")
    async with aw.Client(emulator.provider("picwish")) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.remove(picture())
    assert caught.value.token
    assert emulator.charged["picwish"] <= 1
    assert len(emulator.tasks) <= 1


async def test_a_refused_connection_is_tried_again_and_then_unavailable(picture: Picture) -> None:
    async with aw.Client(aw.PicWish("canary", base_url="http://127.0.0.1:9")) as client:
        with pytest.raises(aw.ProviderUnavailable) as caught:
            await client.remove(picture())
    assert caught.value.sent is False


async def test_a_cut_download_is_resumed(emulator: Emulator, tmp_path: Path, picture: Picture) -> None:
    data = picture(padding=900_000)
    emulator.inject(Fault.cut(300_000), step="result")
    emulator.inject(Fault.dropped_before(), step="result")
    emulator.inject(Fault.status(503), step="result")
    assert await saved(emulator, tmp_path, data) == data
    assert [path.name for path in tmp_path.iterdir()] == ["clean.jpg"]


async def test_an_expired_link_is_asked_for_anew_once(emulator: Emulator, tmp_path: Path, picture: Picture) -> None:
    data = picture()
    emulator.inject(Fault.expired(), step="result")
    assert await saved(emulator, tmp_path, data) == data
    emulator.inject(Fault.expired(), step="result", times=None)
    with pytest.raises(aw.ResultExpired) as caught:
        await saved(emulator, tmp_path, data)
    assert caught.value.provider == "picwish"
    assert "?" not in str(caught.value).replace("?…", "")


async def test_a_download_that_never_gets_whole_leaves_no_debris(
    emulator: Emulator, tmp_path: Path, picture: Picture
) -> None:
    emulator.inject(Fault.cut(10), step="result", times=None)
    with pytest.raises(aw.TransferFailed, match="whole"):
        await saved(emulator, tmp_path, picture(padding=5000))
    assert list(tmp_path.iterdir()) == []


async def test_a_server_that_ignores_ranges_makes_a_download_start_over(tmp_path: Path) -> None:
    calls: list[str | None] = []

    async def half_then_whole(request: web.Request) -> web.StreamResponse:
        calls.append(request.headers.get("Range"))
        response = web.StreamResponse(headers={"Content-Length": "100000", "ETag": '"one"'})
        await response.prepare(request)
        await response.write(b"x" * (50_000 if len(calls) == 1 else 100_000))
        if len(calls) == 1 and request.transport is not None:
            request.transport.abort()
        return response

    async with served(half_then_whole) as url:
        path = await fetched(url + "/a", tmp_path / "out")
    assert path.read_bytes() == b"x" * 100_000
    assert calls == [None, "bytes=50000-"]


async def fetched(url: str, path: Path, **limits: Any) -> Path:
    """Save one link as if it were a result."""
    from aiowatermark.transport.http import HttpTransport

    async with HttpTransport(aw.PicWish("canary", base_url="http://127.0.0.1:9")) as transport:
        await transport.download(url, path, limits.get("max_bytes"))
    return path


async def test_a_link_travels_byte_for_byte_and_without_the_key(tmp_path: Path) -> None:
    seen: list[tuple[str, Any]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append((request.raw_path, request.headers))
        return web.Response(body=b"result")

    target = "/a%2Fb%7Ec/%41?sig=a%2Fb%2B%3D+~,:@"
    async with served(note) as url:
        await fetched(url + target, tmp_path / "out")
    (raw, headers), *_ = seen
    assert raw == target
    assert not {"X-API-KEY", "Authorization", "Cookie"} & set(headers)


async def test_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    async def big(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 2000)

    async with served(big) as url:
        with pytest.raises(aw.TransferFailed, match="1000 bytes"):
            await fetched(url, tmp_path / "out", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["", "missing/clean.jpg"])
async def test_a_path_that_cannot_be_written_is_one_clear_error(
    emulator: Emulator, tmp_path: Path, picture: Picture, target: str
) -> None:
    async with aw.Client(emulator.provider("picwish")) as client:
        result = await client.remove(picture())
        with pytest.raises(aw.InvalidInput, match=r"folder|cannot be written"):
            await result.save(tmp_path / target)
        await result.save(tmp_path / "clean.jpg")


async def test_a_full_disk_is_one_clear_error_and_leaves_no_debris(
    emulator: Emulator, tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    async with aw.Client(emulator.provider("picwish")) as client:
        result = await client.remove(picture())
        with pytest.raises(aw.TransferFailed, match="No space left"):
            await result.save(tmp_path / "clean.jpg")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_shrinks_while_it_is_sent_is_one_clear_error(
    emulator: Emulator, tmp_path: Path, picture: Picture
) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(picture(padding=4_000_000))

    def shrink(sent: int, _: int | None) -> None:
        if sent < 1_000_000:
            os.truncate(source, 2_000_000)

    async with aw.Client(emulator.provider("picwish")) as client:
        with pytest.raises(aw.TransferFailed, match="changed its size"):
            await client.submit(source, progress=shrink)
    assert emulator.charged["picwish"] == 0


async def test_progress_is_told_and_ends_with_everything_sent(emulator: Emulator, picture: Picture) -> None:
    told: list[tuple[int, int | None]] = []
    async with aw.Client(emulator.provider("picwish")) as client:
        await client.remove(picture(padding=2_000_000), progress=lambda sent, total: told.append((sent, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert len(told) > 5


async def test_a_redirect_of_the_api_is_not_followed_with_the_key(picture: Picture) -> None:
    seen: list[Any] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers)
        return web.Response()

    async with served(elsewhere) as other:

        async def away(_: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": other})

        async with served(away) as url, aw.Client(aw.PicWish("canary", base_url=url)) as client:
            with pytest.raises(aw.WatermarkError):
                await client.remove(picture())
    assert seen == []


async def test_a_stalled_upload_ends_with_its_watchdog(tmp_path: Path, picture: Picture) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(picture(padding=40_000_000))

    async def deaf(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async with served(deaf) as url:
        from aiowatermark.transport.http import HttpTransport

        provider = aw.PicWish("canary", base_url=url)
        async with aw.Client(provider, transport=HttpTransport(provider, stall=0.2)) as client:
            with pytest.raises(aw.SubmissionInDoubt):
                await client.submit(source)


async def test_a_users_session_serves_the_api_and_is_not_closed(emulator: Emulator, picture: Picture) -> None:
    import aiohttp

    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        async with aw.Client(emulator.provider("picwish"), session=session) as client:
            await client.remove(picture())
        assert not session.closed


@pytest.mark.parametrize("url", ["http://10.0.0.1/a", "http://result.example/a", "ftp://x.example/a", "https:///a"])
async def test_result_links_that_are_not_https_are_not_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(aw.TransferFailed):
        await fetched(url, tmp_path / "out")


async def test_a_public_provider_cannot_send_us_to_a_private_host(tmp_path: Path) -> None:
    from aiowatermark.transport.http import HttpTransport

    async with HttpTransport(aw.PicWish("canary")) as transport:
        for url in ("https://127.0.0.1:9/a", "https://localhost:9/a", "https://[::1]:9/a", "https://169.254.169.254/a"):
            with pytest.raises(aw.TransferFailed, match="not public"):
                await transport.download(url, tmp_path / "out", None)


@pytest.mark.parametrize(
    ("address", "yes"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("fe80::1%eth0", False),
        ("ff02::1", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_public(address: str, *, yes: bool) -> None:
    assert is_public(address) is yes


async def test_base64_in_json_is_encoded_in_a_stream_as_the_standard_library_does(picture: Picture) -> None:
    for padding in (0, 1, 2, 300_000, 300_001):
        data = picture(padding=padding)
        bodies: list[bytes] = []

        async def keep(request: web.Request) -> web.StreamResponse:
            body = b"".join([chunk async for chunk in request.content.iter_any()])
            bodies.append(body)  # noqa: B023
            assert request.content_length == len(body)
            return web.json_response({"code": 0, "data": {"task_id": "t", "status": "failed"}})

        async with served(keep) as url, aw.Client(aw.Kaze("canary", base_url=url)) as client:
            await client.submit(data)
        assert json.loads(bodies[0]) == {"image_base64": base64.b64encode(data).decode()}


async def test_a_client_on_another_loop_is_a_clear_error(emulator: Emulator) -> None:
    async with aw.Client(emulator.provider("picwish")) as client:

        def elsewhere() -> None:
            with pytest.raises(aw.InvalidInput, match="loop"):
                asyncio.run(client.submit("https://pictures.example/a.png"))

        await asyncio.to_thread(elsewhere)


async def test_a_link_is_fetched_where_a_provider_takes_files_only(emulator: Emulator, picture: Picture) -> None:
    data = picture(padding=300_000)
    async with aw.Client(emulator.provider("dewatermark")) as client:
        result = await client.remove(emulator.host(data))
        assert await result.read() == data
        with pytest.raises(aw.InvalidInput, match="404"):
            await client.remove(emulator.host(data).split("?", maxsplit=1)[0] + "-gone")
    assert emulator.charged["dewatermark"] == 1


async def test_a_save_cancelled_while_it_begins_leaves_no_debris(tmp_path: Path) -> None:
    from aiowatermark.transport.atomic_file import atomic_file

    async def begin() -> None:
        async with atomic_file(tmp_path / "clean.jpg"):
            await asyncio.Event().wait()

    for turns in range(4):
        task = asyncio.create_task(begin())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert list(tmp_path.iterdir()) == []


async def test_a_users_session_that_trusts_the_environment_shows_no_password_to_result_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import aiohttp

    from aiowatermark.transport.http import HttpTransport

    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary-netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[Any] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.headers))
        return web.Response(body=b"result")

    provider = aw.PicWish("canary", base_url="http://127.0.0.1:9")
    async with (
        served(note) as url,
        aiohttp.ClientSession(trust_env=True) as session,
        HttpTransport(provider, user_session=session) as transport,
    ):
        await transport.download(url, tmp_path / "out", None)
    assert "Authorization" not in seen[0]


@pytest.mark.parametrize("gathered", [300, 4 << 20])
@pytest.mark.parametrize("taken", [1, 7, 1000, None])
async def test_a_file_is_whole_however_much_the_system_takes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int | None, gathered: int
) -> None:
    monkeypatch.setattr("aiowatermark.transport.atomic_file._BATCH_BYTES", gathered)
    monkeypatch.setattr("aiowatermark.transport.atomic_file._MIN_BATCH_BYTES", 100)
    writev = os.writev
    if taken is None:
        monkeypatch.delattr(os, "writev")
    else:
        monkeypatch.setattr(os, "writev", lambda fd, views: writev(fd, [b"".join(views)[:taken]]))
    blocks = [bytes([number]) * number for number in range(1, 60)]

    async def coming() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    target = tmp_path / "whole.bin"
    async with atomic_file(target) as part:
        assert await write_blocks(part.file, coming()) == sum(map(len, blocks))
    assert target.read_bytes() == b"".join(blocks)


async def test_a_disk_that_fills_up_in_the_middle_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowatermark.transport.atomic_file._BATCH_BYTES", 300)
    monkeypatch.setattr("aiowatermark.transport.atomic_file._MIN_BATCH_BYTES", 100)
    writev, room = os.writev, [1000]

    def full(fd: int, views: list[memoryview]) -> int:
        room[0] -= sum(map(len, views))
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return writev(fd, views)

    async def coming() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(50)
            await asyncio.sleep(0)

    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(aw.TransferFailed, match="No space left"):
        async with atomic_file(tmp_path / "whole.bin") as part:
            await write_blocks(part.file, coming())
    assert list(tmp_path.iterdir()) == []


async def test_calling_off_a_write_leaves_no_thread_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowatermark.transport.atomic_file._BATCH_BYTES", 300)
    monkeypatch.setattr("aiowatermark.transport.atomic_file._MIN_BATCH_BYTES", 100)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(50)
            await asyncio.sleep(0)

    async def saving() -> None:
        async with atomic_file(tmp_path / "whole.bin") as part:
            await write_blocks(part.file, endless())

    task = asyncio.create_task(saving())
    for _ in range(100):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []
    for thread in threading.enumerate():
        if thread.name == "aiowatermark write":
            await asyncio.to_thread(thread.join, 5.0)
            assert not thread.is_alive()
