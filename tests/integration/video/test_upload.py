"""The PUT to the signed upload URL: what it sends, what it must not send, and how its failures are handled."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark.media import as_media
from aiowatermark.transport.body import encode_body
from aiowatermark.wire import Base64, Json, Multipart
from tests.support.media_host import KEY, SIGNED_TARGET, Exchange, MediaHost, abort_after, never_read, refuse
from tests.support.videos import make_mp4

GIB = 1 << 30


async def test_the_put_is_sent_exactly_as_documented(host: MediaHost, clip: Path) -> None:
    async with host.client() as client:
        await client.remove(clip)
    (put,) = host.uploads
    assert put.lines[0] == f"PUT {SIGNED_TARGET}&ticket=1 HTTP/1.1"
    assert put.headers["content-type"] == "application/octet-stream"
    assert put.headers["content-length"] == str(clip.stat().st_size)
    assert not {"transfer-encoding", "expect", "cookie", "authorization", "x-api-key", "referer"} & put.headers.keys()
    assert KEY not in "\n".join(put.lines)
    assert host.stored == [clip.read_bytes()]


async def test_the_steps_are_in_order_and_only_the_api_receives_the_key(
    host: MediaHost, clip: Path, tmp_path: Path
) -> None:
    async with host.client() as client:
        await (await client.remove(clip)).save(tmp_path / "clean.mp4")
    steps = [(request.method, request.target.partition("?")[0].partition("%")[0]) for request in host.requests]
    upload, start, query = "/api/video/v1/upload", "/api/video/v1/tasks", "/api/video/v1/tasks/task-1"
    assert steps == [("POST", upload), ("PUT", "/bucket/a"), ("POST", start), ("GET", query), ("GET", "/result")]
    keys = [request.headers.get("x-api-key") for request in host.requests]
    assert keys == [KEY, None, KEY, KEY, None]
    assert b'name="task_id"\r\n\r\ntask-1\r\n' in host.start_requests[0].body
    assert (tmp_path / "clean.mp4").read_bytes() == host.result


async def test_a_cookie_set_by_a_host_is_never_sent(host: MediaHost, clip: Path) -> None:
    host.upload_handlers = [refuse(503, Set_Cookie="session=canary")]
    async with host.client() as client:
        await client.remove(clip)
    assert len(host.uploads) == 2
    assert not [request for request in host.requests if "cookie" in request.headers]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_with_a_body(host: MediaHost, clip: Path, status: int) -> None:
    host.upload_handlers = [refuse(status, Location=f"{host.origin}/elsewhere")]
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match=str(status)):
            await (await client.submit(clip))
    assert not [request for request in host.requests if request.target == "/elsewhere"]
    assert host.start_requests == []


@pytest.mark.parametrize("size", [0, 1, 1_500_000, 3_000_000, 3_000_001])
async def test_an_upload_that_is_cut_restarts_and_is_paid_once(host: MediaHost, clip: Path, size: int) -> None:
    host.upload_handlers = [abort_after(size), abort_after(size)]
    async with host.client() as client:
        await client.remove(clip)
    assert len(host.uploads) == 3
    assert host.stored == [clip.read_bytes()]
    assert len(host.start_requests) == host.tickets == 1


async def test_an_upload_is_repeated_after_a_server_error(host: MediaHost, clip: Path) -> None:
    host.upload_handlers = [
        refuse(500),
        refuse(503, Retry_After="0"),
        refuse(429, Retry_After="0"),
    ]
    async with host.client() as client:
        await client.remove(clip)
    assert (len(host.uploads), len(host.start_requests)) == (4, 1)


async def test_an_upload_that_fails_every_time_ends_and_nothing_is_paid(host: MediaHost, clip: Path) -> None:
    host.upload_handlers = [abort_after(0)] * 20
    async with host.client() as client:
        with pytest.raises(aw.ProviderUnavailable):
            await client.remove(clip)
    assert len(host.uploads) == 6
    assert host.start_requests == []


async def test_the_watchdog_ends_each_attempt_of_an_upload_that_is_not_read(host: MediaHost, long_clip: Path) -> None:
    host.upload_handlers = [never_read] * 2
    async with host.client(stall=0.3) as client:
        await client.remove(long_clip)
    assert len(host.uploads) == 3
    assert host.stored == [long_clip.read_bytes()]


async def test_the_error_of_a_stalled_upload_names_the_byte(host: MediaHost, long_clip: Path) -> None:
    host.upload_handlers = [never_read] * 6
    async with host.client(stall=0.1) as client:
        with pytest.raises(aw.ProviderUnavailable, match=r"stopped at byte \d+ of 24000000: nothing .* for 0.1 s"):
            await client.remove(long_clip)
    assert host.start_requests == []


async def test_a_slow_upload_is_not_a_stalled_one(host: MediaHost, long_clip: Path) -> None:
    async def read_slowly(exchange: Exchange) -> None:
        body = b""
        while len(body) < exchange.request.length:
            body += await exchange.read(min(1_000_000, exchange.request.length - len(body)))
            await asyncio.sleep(0.03)
        host.stored.append(body)
        exchange.respond(200)

    host.upload_handlers = [read_slowly]
    async with host.client(stall=0.3) as client:  # the upload takes more than twice as long
        await client.remove(long_clip)
    assert len(host.uploads) == 1
    assert host.stored == [long_clip.read_bytes()]


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("stays_open", [True, False])
async def test_an_answer_before_the_end_of_the_body_ends_the_upload_immediately(
    host: MediaHost, long_clip: Path, status: int, *, stays_open: bool
) -> None:
    async def answer_and_close(exchange: Exchange) -> None:
        exchange.respond(status, b"<Error><Code>EntityTooLarge</Code></Error>")
        await exchange.writer.drain()
        exchange.writer.close()

    host.upload_handlers = [refuse(status, "EntityTooLarge", unread=True) if stays_open else answer_and_close] * 6
    async with host.client() as client:
        with pytest.raises(aw.WatermarkError) as caught:
            await client.remove(long_clip)
    assert host.start_requests == []
    if stays_open:  # a host that closes while the body is sent may reset the connection, and lose its answer
        assert isinstance(caught.value, aw.TransferFailed)
        assert f"HTTP {status} EntityTooLarge" in str(caught.value)
        assert len(host.uploads) == 1


@pytest.mark.parametrize(("status", "code"), [(400, "ExpiredToken"), (403, "AccessDenied"), (403, "")])
async def test_an_expired_upload_url_requests_a_new_ticket(host: MediaHost, clip: Path, status: int, code: str) -> None:
    host.upload_handlers = [refuse(status, code)] * 2
    store = aw.MemoryStore()
    async with host.client(store=store) as client:
        handle = await client.submit(clip)
        await handle
        record = await store.get(handle.key)
    assert [put.target.rpartition("=")[2] for put in host.uploads] == ["1", "2", "3"]
    assert handle.task_id == "task-3"
    assert record is not None
    assert record.snapshot.task_id == "task-3"
    assert b"task-3" in host.start_requests[0].body


async def test_at_most_two_new_tickets_are_requested(host: MediaHost, clip: Path) -> None:
    host.upload_handlers = [refuse(400, "ExpiredToken")] * 9
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match="HTTP 400 ExpiredToken"):
            await client.remove(clip)
    assert (host.tickets, len(host.uploads), host.start_requests) == (3, 3, [])


async def test_the_error_of_a_wrong_signature_has_the_hosts_code_and_not_the_url(
    host: MediaHost, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.upload_handlers = [refuse(403, "SignatureDoesNotMatch")]
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match="HTTP 403 SignatureDoesNotMatch") as caught:
            await client.remove(clip)
    assert host.tickets == 1
    for text in (str(caught.value), repr(caught.value), caplog.text):
        assert "Goog" not in text
        assert "bucket" not in text


@pytest.mark.parametrize("difference", [-500_000, 700_000])
async def test_a_file_that_changes_its_size_is_one_clear_error_and_nothing_is_paid(
    host: MediaHost, clip: Path, difference: int
) -> None:
    size = clip.stat().st_size

    def change_size(sent: int, _: int | None) -> None:
        if sent < 1_000_000:
            os.truncate(clip, size + difference)

    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match=f"changed its size while it was sent: {size} bytes"):
            await client.remove(clip, progress=change_size)
    assert (len(host.uploads), host.stored, host.start_requests) == (1, [], [])


async def test_a_missing_file_is_one_clear_error(host: MediaHost, clip: Path) -> None:
    async with host.client() as client:
        with pytest.raises(aw.InvalidInput, match="cannot be read: No such file"):
            await client.remove(clip.with_name("none.mp4"))
    assert host.requests == []


async def test_a_file_of_five_gibibytes_is_announced_with_its_length(host: MediaHost, tmp_path: Path) -> None:
    path = tmp_path / "sparse.mp4"
    path.write_bytes(make_mp4(1000))
    os.truncate(path, 5 * GIB)
    host.upload_handlers = [refuse(413, "EntityTooLarge", unread=True)]
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match="EntityTooLarge"):
            await client.remove(path)
    assert host.uploads[0].headers["content-length"] == str(5 * GIB)


async def test_the_length_of_every_kind_of_body_is_computed_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "sparse.mp4"
    path.touch()
    os.truncate(path, 5 * GIB + 1)
    media = as_media(path)
    await media.measure()

    assert encode_body(media).length == 5 * GIB + 1
    form = encode_body(Multipart({"file": media}))
    assert form.length == 5 * GIB + 1 + sum(len(part) for part in form.parts if isinstance(part, bytes))
    text = encode_body(Json({"a": Base64(media)}))
    assert text.length == len('{"a": ""}') + (5 * GIB + 3) // 3 * 4
