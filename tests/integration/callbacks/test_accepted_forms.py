"""Deliveries are accepted as they come, the same way at every mount; probes of a callback URL do nothing."""

from __future__ import annotations

import asyncio
import gzip
import logging
import zlib

import aiohttp
import pytest

import aiowatermark as aw
from tests.support.callback_mounts import MOUNTS, ExpectedKey, request, send_raw, serve_mounted, status_of

JSON = b'{"data":{"task_id":"t1","state":1}}'


@pytest.fixture
def receiver() -> aw.CallbackReceiver:
    return aw.CallbackReceiver("https://hooks.example.com/wm")


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_sender_that_waits_for_100_continue_is_told_to_go_on(receiver: aw.CallbackReceiver, mount: str) -> None:
    expected = ExpectedKey(receiver)
    async with (
        serve_mounted(receiver, mount) as port,
        aiohttp.ClientSession() as session,
        # aiohttp's client waits for the 100 without a limit of its own
        session.post(f"http://127.0.0.1:{port}/wm/{expected.key}", data=JSON, expect100=True) as response,
    ):
        assert response.status == 200
    assert [delivery.body for delivery in expected.deliveries] == [JSON]


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_stranger_is_not_told_to_go_on(receiver: aw.CallbackReceiver, mount: str) -> None:
    head = f"POST /wm/{'a' * 32} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"
    async with serve_mounted(receiver, mount) as port:
        assert (await send_raw(port, head.encode())).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_chunked_body_arrives_complete(receiver: aw.CallbackReceiver, mount: str) -> None:
    expected = ExpectedKey(receiver)
    head = f'POST /wm/{expected.key} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{"a":\r\n'.encode()
    async with serve_mounted(receiver, mount) as port:
        assert status_of(await send_raw(port, head, more=b"2\r\n1}\r\n0\r\n\r\n")) == 200
    assert [delivery.body for delivery in expected.deliveries] == [b'{"a":1}']


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_slash_at_the_end_of_the_url_is_ignored(receiver: aw.CallbackReceiver, mount: str) -> None:
    expected = ExpectedKey(receiver)
    async with serve_mounted(receiver, mount) as port:
        for path in (f"/wm/{expected.key}/", f"/wm/{expected.key}?x=1", f"/wm/{expected.key}/?x=1"):
            assert status_of(await send_raw(port, request(path, JSON))) == 200
    assert len(expected.deliveries) == 3


RAW_DEFLATE = zlib.compressobj(wbits=-15)
ENCODED = {
    "gzip": ("gzip", gzip.compress(JSON)),
    "x-gzip": ("X-GZIP", gzip.compress(JSON)),
    "deflate": ("deflate", zlib.compress(JSON)),
    "raw deflate": ("deflate", RAW_DEFLATE.compress(JSON) + RAW_DEFLATE.flush()),
    "identity": ("identity", JSON),
}


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("coding", sorted(ENCODED))
async def test_the_content_coding_of_a_known_keys_body_is_undone(
    receiver: aw.CallbackReceiver, mount: str, coding: str
) -> None:
    expected = ExpectedKey(receiver)
    encoding, body = ENCODED[coding]
    async with serve_mounted(receiver, mount) as port:
        response = await send_raw(
            port, request(f"/wm/{expected.key}", body, headers=f"Content-Encoding: {encoding}\r\n")
        )
    assert status_of(response) == 200
    assert [delivery.body for delivery in expected.deliveries] == [JSON]


@pytest.mark.parametrize("mount", ["server", "uvicorn"])
async def test_a_body_that_is_not_encoded_as_its_header_says_still_wakes_the_job(
    receiver: aw.CallbackReceiver, mount: str
) -> None:
    expected = ExpectedKey(receiver)
    async with serve_mounted(receiver, mount) as port:
        for encoding in ("gzip", "deflate", "br", "no such coding"):
            raw = request(f"/wm/{expected.key}", JSON, headers=f"Content-Encoding: {encoding}\r\n")
            assert status_of(await send_raw(port, raw)) == 200
    assert [delivery.body for delivery in expected.deliveries] == [JSON] * 4


@pytest.mark.parametrize("mount", MOUNTS)
async def test_the_limit_of_a_body_is_counted_after_decompression(receiver: aw.CallbackReceiver, mount: str) -> None:
    expected = ExpectedKey(receiver)
    bomb = gzip.compress(b"\0" * 30_000_000)
    async with serve_mounted(receiver, mount) as port:
        raw = request(f"/wm/{expected.key}", bomb, headers="Content-Encoding: gzip\r\n")
        assert status_of(await send_raw(port, raw)) == 413
        within_limit = gzip.compress(b" " * (64 << 10))
        raw = request(f"/wm/{expected.key}", within_limit, headers="Content-Encoding: gzip\r\n")
        assert status_of(await send_raw(port, raw)) == 200
    assert [len(delivery.body) for delivery in expected.deliveries] == [64 << 10]


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_probe_of_a_live_callback_url_is_answered_200_and_wakes_nothing(
    receiver: aw.CallbackReceiver, mount: str, method: str
) -> None:
    expected = ExpectedKey(receiver)
    async with serve_mounted(receiver, mount) as port:
        assert status_of(await send_raw(port, request(f"/wm/{expected.key}", b"", method))) == 200
        assert status_of(await send_raw(port, request(f"/wm/{'a' * 32}", b"", method))) == 404
    assert expected.deliveries == []
    assert receiver.counts["received"] == 0


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_content_type_is_passed_on_cut_and_never_parsed(receiver: aw.CallbackReceiver, mount: str) -> None:
    expected = ExpectedKey(receiver)
    hostile = ["(" * 7000, "a/b;x=" + "(a)" * 2000, 'a/b; "' + '"' * 7000]
    async with serve_mounted(receiver, mount) as port:
        for value in hostile:
            headers = f"Content-Type: {value}\r\n"
            assert status_of(await send_raw(port, request(f"/wm/{expected.key}", headers=headers))) == 200
            assert status_of(await send_raw(port, request(f"/wm/{'a' * 32}", headers=headers))) == 404
    assert [delivery.content_type for delivery in expected.deliveries] == [value[:200] for value in hostile]


@pytest.mark.parametrize("mount", MOUNTS)
async def test_every_answer_closes_its_connection(receiver: aw.CallbackReceiver, mount: str) -> None:
    expected = ExpectedKey(receiver)
    paths = [(f"/wm/{expected.key}", "POST"), (f"/wm/{'a' * 32}", "POST"), ("/wm/x", "GET"), ("/wm/x", "PUT")]
    async with serve_mounted(receiver, mount) as port:
        for path, method in paths:
            # send_raw returns when the server has closed the connection
            assert b"\r\nconnection: close\r\n" in (await send_raw(port, request(path, b"", method))).lower()


@pytest.mark.parametrize("mount", MOUNTS)
async def test_an_announced_body_of_a_stranger_is_not_awaited(receiver: aw.CallbackReceiver, mount: str) -> None:
    head = f"POST /wm/{'a' * 32} HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 9000000\r\n\r\n"
    async with serve_mounted(receiver, mount) as port:
        response = await send_raw(port, head.encode(), more=gzip.compress(b"\0" * 1_000_000))
    assert status_of(response) in {404, 0}
    assert receiver.counts == {"received": 1, "unknown": 1}


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("expected_key", [True, False])
async def test_a_sender_that_hangs_up_in_the_middle_is_not_logged_as_an_error(
    receiver: aw.CallbackReceiver, mount: str, expected_key: bool, caplog: pytest.LogCaptureFixture
) -> None:
    expected = ExpectedKey(receiver)
    key = expected.key if expected_key else "a" * 32
    head = f"POST /wm/{key} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n{{".encode()
    async with serve_mounted(receiver, mount) as port:
        for abort_at_once in (True, False):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            if not abort_at_once:
                await asyncio.sleep(0.05)
            writer.transport.abort()
        # the server has dealt with both when it has answered a third one
        assert status_of(await send_raw(port, request(f"/wm/{expected.key}"))) == 200
    assert len(expected.deliveries) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
