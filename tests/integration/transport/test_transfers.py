"""Requests, uploads and downloads over real sockets: what is sent, what is not, and what happens on failures."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.client.engine.submission.commits import SubmitContext
from aiowatermark.emulator import Emulator, Fault
from aiowatermark.transport.atomic_file import atomic_file, write_batch, write_blocks
from aiowatermark.transport.budget import TransferBudget
from aiowatermark.transport.http import HttpTransport
from tests.support.http_server import serve_handler
from tests.support.images import make_jpeg
from tests.support.media_sources import Pipe, stream_in_blocks
from tests.support.stores import get_record

pytestmark = pytest.mark.usefixtures("no_retry_delays")


async def remove_and_save(emulator: Emulator, tmp_path: Path, image: bytes, **settings: Any) -> bytes:
    async with aw.Client(emulator.provider("picwish"), **settings) as client:
        result = await client.remove(image)
        path = await result.save(tmp_path / "clean.jpg")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["gptge", "picwish", "kaze", "dewatermark"])
async def test_an_image_is_uploaded_and_downloaded_unchanged(emulator: Emulator, tmp_path: Path, name: str) -> None:
    data = make_jpeg(padding=700_000)
    source = tmp_path / "photo.jpg"
    source.write_bytes(data)
    async with aw.Client(emulator.provider(name)) as client:
        result = await client.remove(source)
        path = await result.save(tmp_path / "clean.jpg")
        assert path.read_bytes() == data == await result.read()
    assert emulator.charged[name] == 1
    assert emulator.leaks == 0


@pytest.mark.parametrize("kind", ["bytes", "file", "stream", "sized stream", "unseekable"])
async def test_every_kind_of_source_is_uploaded_unchanged(emulator: Emulator, tmp_path: Path, kind: str) -> None:
    data = make_jpeg(padding=600_001)
    path = tmp_path / "p.jpg"
    path.write_bytes(b"before" + data)
    options: dict[str, Any] = {"size": len(data)} if kind == "sized stream" else {}
    with path.open("rb") as file:
        file.seek(6)
        sources: dict[str, Any] = {
            "bytes": data,
            "file": file,
            "stream": stream_in_blocks(data),
            "sized stream": stream_in_blocks(data),
            "unseekable": Pipe(data),
        }
        async with aw.Client(emulator.provider("kaze")) as client:
            result = await client.remove(sources[kind], **options)
            assert await result.read() == data


@pytest.mark.parametrize("name", ["gptge", "picwish", "kaze", "dewatermark"])
async def test_a_submission_whose_answer_is_lost_is_charged_once_and_in_doubt(emulator: Emulator, name: str) -> None:
    emulator.inject(Fault.dropped_after(), provider=name, step="submit")
    async with aw.Client(emulator.provider(name)) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(make_jpeg())
    assert emulator.charged[name] == 1


@pytest.mark.parametrize("fault", [Fault.dropped_before(), Fault.garbage(), Fault.status(500), Fault.stalled()])
async def test_a_submission_that_fails_after_it_was_sent_is_not_sent_again(
    emulator: Emulator, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowatermark.client.engine.submission.commits.SUBMIT_TIMEOUT", 0.2)
    emulator.inject(fault, provider="picwish", step="submit")
    async with aw.Client(emulator.provider("picwish")) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.remove(make_jpeg())
    assert caught.value.token
    assert emulator.charged["picwish"] <= 1
    assert len(emulator.tasks) <= 1


@pytest.mark.parametrize("by_url", [True, False])
async def test_a_submission_that_is_called_off_before_its_first_byte_sends_nothing_and_is_committed_anew(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, by_url: bool
) -> None:
    commits, ages = list[float](), iter([30.0, 0.0])

    def note_commit(self: SubmitContext) -> float:
        commits.append(age := next(ages, 0.0))
        return age

    monkeypatch.setattr(SubmitContext, "_commit_age", note_commit)
    monkeypatch.setattr(SubmitContext, "before_attempt", SubmitContext._commit)
    async with aw.Client(emulator.provider("picwish"), store=(store := aw.MemoryStore())) as client:
        media = emulator.host(make_jpeg()) if by_url else make_jpeg()
        await client.remove(media, key="order-1")
        record = await get_record(store, "order-1")
    assert [attempt.outcome for attempt in record.attempts][-2:] == ["not accepted: ProviderUnavailable", "accepted"]
    assert emulator.charged["picwish"] == len(emulator.tasks) == 1
    assert commits[:2] == [30.0, 0.0]


@pytest.mark.parametrize("by_url", [True, False])
async def test_a_submission_that_gets_no_connection_in_time_was_not_sent_and_is_repeated(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, by_url: bool
) -> None:
    monkeypatch.setattr("aiowatermark.client.engine.submission.commits.SUBMIT_TIMEOUT", 0.2)
    released = asyncio.Event()

    async def respond_late(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response(headers={"Connection": "close"})

    async with (
        serve_handler(respond_late) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        aw.Client(emulator.provider("picwish"), session=session) as client,
    ):
        occupying = asyncio.create_task(session.get(url))
        await asyncio.sleep(0.05)
        media = emulator.host(make_jpeg()) if by_url else make_jpeg()
        submitting = asyncio.create_task(client.submit(media, key="order-1"))
        await asyncio.sleep(0.5)
        assert emulator.charged["picwish"] == 0
        released.set()
        (await occupying).close()
        assert (await submitting).task_id
    assert emulator.charged["picwish"] == 1


@pytest.mark.slow
async def test_a_refused_connection_is_retried_and_then_raises_provider_unavailable() -> None:
    async with aw.Client(aw.PicWish("canary", base_url="http://127.0.0.1:9")) as client:
        with pytest.raises(aw.ProviderUnavailable) as caught:
            await client.remove(make_jpeg())
    assert caught.value.sent is False


async def test_an_interrupted_download_is_resumed(emulator: Emulator, tmp_path: Path) -> None:
    data = make_jpeg(padding=900_000)
    emulator.inject(Fault.cut(300_000), step="result")
    emulator.inject(Fault.dropped_before(), step="result")
    emulator.inject(Fault.status(503), step="result")
    assert await remove_and_save(emulator, tmp_path, data) == data
    assert [path.name for path in tmp_path.iterdir()] == ["clean.jpg"]


async def test_an_expired_result_url_is_requested_again_once(emulator: Emulator, tmp_path: Path) -> None:
    data = make_jpeg()
    emulator.inject(Fault.expired(), step="result")
    assert await remove_and_save(emulator, tmp_path, data) == data
    emulator.inject(Fault.expired(), step="result", times=None)
    with pytest.raises(aw.ResultExpired) as caught:
        await remove_and_save(emulator, tmp_path, data)
    assert caught.value.provider == "picwish"
    assert "?" not in str(caught.value).replace("?…", "")


async def test_a_download_that_never_completes_leaves_no_files(emulator: Emulator, tmp_path: Path) -> None:
    emulator.inject(Fault.cut(10), step="result", times=None)
    with pytest.raises(aw.TransferFailed, match="whole"):
        await remove_and_save(emulator, tmp_path, make_jpeg(padding=5000))
    assert list(tmp_path.iterdir()) == []


async def test_a_download_starts_over_if_the_server_ignores_ranges(tmp_path: Path) -> None:
    calls: list[str | None] = []

    async def half_then_everything(request: web.Request) -> web.StreamResponse:
        calls.append(request.headers.get("Range"))
        response = web.StreamResponse(headers={"Content-Length": "100000", "ETag": '"one"'})
        await response.prepare(request)
        await response.write(b"x" * (50_000 if len(calls) == 1 else 100_000))
        if len(calls) == 1 and request.transport is not None:
            request.transport.abort()
        return response

    async with serve_handler(half_then_everything) as url:
        path = await download(url + "/a", tmp_path / "out")
    assert path.read_bytes() == b"x" * 100_000
    assert calls == [None, "bytes=50000-"]


async def download(url: str, path: Path, max_bytes: int | None = None) -> Path:
    """Download a URL as if it were a result."""
    async with HttpTransport(aw.PicWish("canary", base_url="http://127.0.0.1:9")) as transport:
        await transport.download(url, path, max_bytes)
    return path


async def test_a_url_is_requested_byte_for_byte_and_without_the_key(tmp_path: Path) -> None:
    requests: list[tuple[str, Any]] = []

    async def record_request(request: web.Request) -> web.StreamResponse:
        requests.append((request.raw_path, request.headers))
        return web.Response(body=b"result")

    target = "/a%2Fb%7Ec/%41?sig=a%2Fb%2B%3D+~,:@"
    async with serve_handler(record_request) as url:
        await download(url + target, tmp_path / "out")
    (raw_path, headers), *_ = requests
    assert raw_path == target
    assert not {"X-API-KEY", "Authorization", "Cookie"} & set(headers)


async def test_a_result_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    async def large_result(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 2000)

    async with serve_handler(large_result) as url:
        with pytest.raises(aw.TransferFailed, match="1000 bytes"):
            await download(url, tmp_path / "out", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_raises_transfer_failed_and_leaves_no_files(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    async with aw.Client(emulator.provider("picwish")) as client:
        result = await client.remove(make_jpeg())
        with pytest.raises(aw.TransferFailed, match="No space left"):
            await result.save(tmp_path / "clean.jpg")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_shrinks_while_it_is_sent_raises_transfer_failed(emulator: Emulator, tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(make_jpeg(padding=4_000_000))

    def shrink(sent: int, _: int | None) -> None:
        if sent < 1_000_000:
            os.truncate(source, 2_000_000)

    async with aw.Client(emulator.provider("picwish")) as client:
        with pytest.raises(aw.TransferFailed, match="changed its size"):
            await client.submit(source, progress=shrink)
    assert emulator.charged["picwish"] == 0


async def test_progress_is_reported_and_ends_with_everything_sent(emulator: Emulator) -> None:
    reports: list[tuple[int, int | None]] = []
    async with aw.Client(emulator.provider("picwish")) as client:
        await client.remove(make_jpeg(padding=2_000_000), progress=lambda sent, total: reports.append((sent, total)))
    assert reports == sorted(reports)
    assert reports[-1][0] == reports[-1][1]
    assert len(reports) > 5


async def test_a_redirect_of_the_api_is_not_followed() -> None:
    redirected: list[Any] = []

    async def record_request(request: web.Request) -> web.StreamResponse:
        redirected.append(request.headers)
        return web.Response()

    async with serve_handler(record_request) as other_url:

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": other_url})

        async with serve_handler(redirect) as url, aw.Client(aw.PicWish("canary", base_url=url)) as client:
            with pytest.raises(aw.WatermarkError):
                await client.remove(make_jpeg())
    assert redirected == []


async def test_the_watchdog_ends_a_stalled_upload(tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(make_jpeg(padding=40_000_000))

    async def never_read(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async with serve_handler(never_read) as url:
        provider = aw.PicWish("canary", base_url=url)
        async with aw.Client(provider, transport=HttpTransport(provider, stall=0.2)) as client:
            with pytest.raises(aw.SubmissionInDoubt):
                await client.submit(source)


async def test_a_users_session_serves_the_api_and_is_not_closed(emulator: Emulator) -> None:
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        async with aw.Client(emulator.provider("picwish"), session=session) as client:
            await client.remove(make_jpeg())
        assert not session.closed


async def test_base64_that_is_streamed_into_json_equals_the_standard_librarys() -> None:
    for padding in (0, 1, 2, 300_000, 300_001):
        data = make_jpeg(padding=padding)
        bodies: list[bytes] = []

        async def record_body(request: web.Request) -> web.StreamResponse:
            body = b"".join([chunk async for chunk in request.content.iter_any()])
            bodies.append(body)  # noqa: B023
            assert request.content_length == len(body)
            return web.json_response({"code": 0, "data": {"task_id": "t", "status": "failed"}})

        async with serve_handler(record_body) as url, aw.Client(aw.Kaze("canary", base_url=url)) as client:
            await client.submit(data)
        assert json.loads(bodies[0]) == {"image_base64": base64.b64encode(data).decode()}


async def test_using_a_client_on_another_loop_raises_invalid_input(emulator: Emulator) -> None:
    async with aw.Client(emulator.provider("picwish")) as client:

        def submit_on_another_loop() -> None:
            with pytest.raises(aw.InvalidInput, match="loop"):
                asyncio.run(client.submit("https://images.example/a.png"))

        await asyncio.to_thread(submit_on_another_loop)


async def test_a_link_is_downloaded_for_a_provider_that_accepts_files_only(emulator: Emulator) -> None:
    data = make_jpeg(padding=300_000)
    async with aw.Client(emulator.provider("dewatermark")) as client:
        result = await client.remove(emulator.host(data))
        assert await result.read() == data
        with pytest.raises(aw.InvalidInput, match="404"):
            await client.remove(emulator.host(data).split("?", maxsplit=1)[0] + "-missing")
    assert emulator.charged["dewatermark"] == 1


async def test_a_save_that_is_cancelled_while_it_starts_leaves_no_files(tmp_path: Path) -> None:
    async def hold_open() -> None:
        async with atomic_file(tmp_path / "clean.jpg"):
            await asyncio.Event().wait()

    for steps in range(4):
        task = asyncio.create_task(hold_open())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert list(tmp_path.iterdir()) == []


async def test_netrc_passwords_are_not_sent_to_result_hosts_even_if_the_users_session_trusts_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary-netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    headers: list[dict[str, str]] = []

    async def record_headers(request: web.Request) -> web.StreamResponse:
        headers.append(dict(request.headers))
        return web.Response(body=b"result")

    provider = aw.PicWish("canary", base_url="http://127.0.0.1:9")
    async with (
        serve_handler(record_headers) as url,
        aiohttp.ClientSession(trust_env=True) as session,
        HttpTransport(provider, user_session=session) as transport,
    ):
        await transport.download(url, tmp_path / "out", None)
    assert "Authorization" not in headers[0]


@pytest.mark.parametrize("batch_bytes", [1, 300, 4 << 20])
async def test_a_file_is_complete_however_large_its_batches_are(tmp_path: Path, batch_bytes: int) -> None:
    budget = TransferBudget(total_batch_bytes=batch_bytes, min_batch_bytes=100)
    blocks = [bytes([number]) * number for number in range(1, 60)]

    async def stream() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    target = tmp_path / "result.bin"
    async with atomic_file(target) as part:
        assert await write_blocks(part.file, stream(), budget) == sum(map(len, blocks))
    assert target.read_bytes() == b"".join(blocks)


async def test_a_disk_that_fills_up_during_the_write_raises_transfer_failed_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = TransferBudget(total_batch_bytes=300, min_batch_bytes=100)
    free_bytes = [1000]

    def write_to_full_disk(file: BinaryIO, batch: list[bytes]) -> None:
        free_bytes[0] -= sum(map(len, batch))
        if free_bytes[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_batch(file, batch)

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(50)
            await asyncio.sleep(0)

    monkeypatch.setattr("aiowatermark.transport.atomic_file.write_batch", write_to_full_disk)
    with pytest.raises(aw.TransferFailed, match="No space left"):
        async with atomic_file(tmp_path / "result.bin") as part:
            await write_blocks(part.file, stream(), budget)
    assert list(tmp_path.iterdir()) == []


async def test_cancelling_a_write_leaves_no_thread_and_no_file(tmp_path: Path) -> None:
    budget = TransferBudget(total_batch_bytes=300, min_batch_bytes=100)

    async def endless_stream() -> AsyncIterator[bytes]:
        while True:
            yield bytes(50)
            await asyncio.sleep(0)

    async def save() -> None:
        async with atomic_file(tmp_path / "result.bin") as part:
            await write_blocks(part.file, endless_stream(), budget)

    task = asyncio.create_task(save())
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
