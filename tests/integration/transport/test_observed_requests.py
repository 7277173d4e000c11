"""Every HTTP request is observed: what it was for, how it ended, and the bytes of its bodies; never a secret."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures
from aiowatermark.transport.http import HttpTransport
from tests.support.http_server import free_port, serve_handler
from tests.support.videos import MP4_HEAD, make_mp4_header

PHOTO = pictures.sample_photo()


def ended(events: list[Any], purpose: str) -> list[aw.RequestEnded]:
    return [event for event in events if isinstance(event, aw.RequestEnded) and event.purpose == purpose]


async def test_submission_query_and_download_are_told_apart_and_their_bytes_counted(
    emulator: Emulator, tmp_path: Path
) -> None:
    events: list[Any] = []
    gc.collect()  # parts of the keys of earlier tests, such as "termark-", would be hidden
    async with aw.Client(emulator.provider("picwish"), on_event=events.append) as client:
        result = await client.remove(PHOTO)
        saved = await result.save(tmp_path / "clean.jpg")
        stats = client.stats()
    (submission,), (download,) = ended(events, "submission"), ended(events, "download")
    assert (submission.method, submission.status, submission.error) == ("POST", 200, None)
    assert submission.path == "/api/tasks/visual/external/watermark-remove"
    assert len(PHOTO) < submission.bytes_up < len(PHOTO) + 2000
    assert download.bytes_down == saved.stat().st_size
    assert submission.host == emulator.base_url.partition("://")[2]
    assert download.host == emulator.storage_url.partition("://")[2]
    queries = {(query.status, query.path) for query in ended(events, "query")}
    assert queries == {(200, f"{submission.path}/{result.snapshot.task_id}")}
    requests = [event for event in events if isinstance(event, aw.RequestEnded)]
    assert (stats.requests, stats.bytes_up, stats.bytes_down) == (
        len(requests),
        sum(event.bytes_up for event in requests),
        sum(event.bytes_down for event in requests),
    )
    assert [event.event for event in events if isinstance(event, aw.JobChanged)][-1] == "result.saved"


async def test_each_start_has_one_end_with_its_number(emulator: Emulator) -> None:
    events: list[Any] = []
    async with aw.Client(emulator.provider("kaze"), on_event=events.append) as client:
        await asyncio.gather(*(client.remove(PHOTO) for _ in range(3)))
    started = {event.number: event for event in events if isinstance(event, aw.RequestStarted)}
    finished = {event.number: event for event in events if isinstance(event, aw.RequestEnded)}
    assert started.keys() == finished.keys() == set(range(1, len(started) + 1))
    for number, event in started.items():
        end = finished[number]
        assert (event.purpose, event.method, event.host, event.path) == (end.purpose, end.method, end.host, end.path)
        assert end.seconds >= 0.0


async def test_an_upload_to_a_signed_url_shows_neither_its_query_nor_its_signature(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[Any] = []
    video = MP4_HEAD + make_mp4_header(2.0)
    async with aw.Client(emulator.provider("dewatermark"), on_event=events.append) as client:
        await client.remove(video)
    (upload,) = ended(events, "upload")
    assert (upload.method, upload.path, upload.bytes_up) == ("PUT", "/…", len(video))
    lines = [record for record in caplog.records if getattr(record, "event", "") == "request.ended"]
    assert len(lines) == len([event for event in events if isinstance(event, aw.RequestEnded)])
    for record in lines:
        assert "?" not in vars(record)["path"]
        assert "signature" not in record.getMessage().lower()
        assert record.name == "aiowatermark.requests"
        assert isinstance(vars(record)["ms"], float)
        assert re.search(r": 20\d in [\d.]+ ms, \d+ bytes sent, \d+ received$", record.getMessage())


async def test_a_request_without_an_answer_ends_with_the_name_of_its_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[Any] = []
    provider = aw.Kaze("canary-1", base_url=f"http://127.0.0.1:{free_port()}")
    async with aw.Client(provider, on_event=events.append, deadline=0.5) as client:
        with pytest.raises(aw.ProviderUnavailable):
            await client.remove(PHOTO)
        assert client.stats().unsent == 1
    first = ended(events, "submission")[0]
    assert (first.status, first.error, first.bytes_up) == (None, "ClientConnectorError", 0)
    lines = [each.getMessage() for each in caplog.records if getattr(each, "event", "") == "request.ended"]
    assert all(": no answer (ClientConnectorError) in " in line for line in lines)
    assert "None" not in "".join(lines)


async def test_a_cancelled_request_has_an_end() -> None:
    arrived, released = asyncio.Event(), asyncio.Event()

    async def hold(_: web.Request) -> web.Response:
        arrived.set()
        await released.wait()
        return web.Response()

    events: list[Any] = []
    async with (
        serve_handler(hold) as url,
        aw.Client(aw.Kaze("canary-1", base_url=url), on_event=events.append, drain=0.0) as client,
    ):
        task = asyncio.create_task(client.credits())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        released.set()
    (query,) = ended(events, "query")
    assert (query.status, query.error) == (None, "CancelledError")


async def test_a_hook_that_raises_harms_no_transfer(emulator: Emulator, tmp_path: Path) -> None:
    def fail(event: object) -> None:
        raise ZeroDivisionError(type(event).__name__)

    async with aw.Client(emulator.provider("gptge"), on_event=fail) as client:
        await (await client.remove(PHOTO)).save(tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").exists()


async def test_a_transport_of_ones_own_http_settings_is_observed_too(emulator: Emulator) -> None:

    provider = emulator.provider("kaze")
    async with aw.Client(provider, transport=HttpTransport(provider)) as client:
        await client.remove(PHOTO)
        assert client.stats().requests >= 2
