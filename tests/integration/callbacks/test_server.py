"""The server and the bridges over real sockets: hostile input ends in a 4xx or a closed connection, never in a 5xx."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from tests.support.callback_mounts import ExpectedKey, request, send_raw, status_of
from tests.support.http_server import serve_application
from tests.support.images import make_jpeg


@pytest.fixture
def receiver() -> aw.CallbackReceiver:
    return aw.CallbackReceiver("https://hooks.example.com/wm")


@pytest.fixture
async def server(receiver: aw.CallbackReceiver) -> AsyncIterator[aw.CallbackServer]:
    async with aw.CallbackServer(receiver, port=0) as running:
        yield running


async def test_a_delivery_to_an_expected_key_is_acknowledged(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver
) -> None:
    expected = ExpectedKey(receiver)
    for path in (f"/{expected.key}", f"/wm/{expected.key}", f"/any/where/{expected.key}?x=1"):
        assert status_of(await send_raw(server.port, request(path, b'{"a":1}'))) == 200
    assert [delivery.body for delivery in expected.deliveries] == [b'{"a":1}'] * 3


BODIES = [
    b"[" * 50_000,
    b'{"a":' * 10_000,
    b"NaN",
    b"9" * 5000,
    b"null",
    b"[]",
    b"\xff\xfe\x00",
    b"",
]


@pytest.mark.parametrize("body", BODIES)
async def test_any_body_only_wakes_the_job(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver, body: bytes
) -> None:
    expected = ExpectedKey(receiver)
    response = await send_raw(server.port, request(f"/{expected.key}", body, headers="Content-Encoding: gzip\r\n"))
    assert status_of(response) == 200
    assert len(expected.deliveries) == 1
    provider = aw.GptGe("canary-1")
    from aiowatermark.jobs import Record

    try:
        snapshot = provider.parse_callback(expected.deliveries[0], Record("k", "gptge"))
    except aw.WatermarkError:
        snapshot = None
    assert snapshot is None or not snapshot.status.terminal


PATHS = [
    "/",
    "//",
    "/wm/",
    "/" + "x" * 31,
    "/" + "x" * 33,
    "/" + "x" * 32,
    "/" + "x" * 4000,
    "/%00",
    "/%2e%2e%2fetc%2fpasswd",
    "/%ff%fe" * 8,
    "/schlüssel",
    "/../../" + "y" * 32,
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
async def test_unknown_and_malformed_keys_are_refused(server: aw.CallbackServer, path: str, method: str) -> None:
    response = await send_raw(server.port, request(path, method=method))
    assert status_of(response) in {400, 404, 405}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_do_not_wake_a_job(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver, method: str
) -> None:
    expected = ExpectedKey(receiver)
    assert status_of(await send_raw(server.port, request(f"/{expected.key}", method=method))) == 405
    assert expected.deliveries == []


async def test_a_body_over_the_limit_is_refused_before_it_is_read_completely(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver
) -> None:
    expected = ExpectedKey(receiver)
    assert status_of(await send_raw(server.port, request(f"/{expected.key}", b"x" * 3_000_000))) in {413, 0}
    chunked = f"POST /{expected.key} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert status_of(
        await send_raw(server.port, chunked, more=b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" + b"y" * 65536)
    ) in {413, 0}
    assert expected.deliveries == []


async def test_a_port_in_use_is_named_in_the_error(server: aw.CallbackServer, receiver: aw.CallbackReceiver) -> None:
    with pytest.raises(aw.InvalidInput, match=str(server.port)):
        async with aw.CallbackServer(receiver, port=server.port):
            pass


async def test_no_log_line_contains_a_key(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    expected = ExpectedKey(receiver)
    await send_raw(server.port, request(f"/{expected.key}"))
    await send_raw(server.port, f"POST /{expected.key} and more HTTP/1.1\r\n\r\n".encode())
    assert len(expected.deliveries) == 1
    assert expected.key not in caplog.text


@pytest.mark.parametrize(
    "url", ["", "hooks.example.com", "ftp://x", "https://", "https://u:p@x.example", "https://x/?a=1"]
)
def test_an_invalid_public_url_is_refused(url: str) -> None:
    with pytest.raises(aw.InvalidInput, match="public_url"):
        aw.CallbackReceiver(url)


async def test_the_receiver_mounts_in_an_aiohttp_application(receiver: aw.CallbackReceiver) -> None:
    app = web.Application()
    receiver.setup(app, path="/wm")
    expected = ExpectedKey(receiver)
    async with serve_application(app) as base, aiohttp.ClientSession() as session:
        async with session.post(f"{base}/wm/{expected.key}", json={}) as response:
            assert response.status == 200
        async with session.post(f"{base}/{expected.key}", json={}) as response:
            assert response.status == 404
    assert len(expected.deliveries) == 1


async def asgi_call(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Call an ASGI application with these messages; returns what it sends."""
    pending = list(messages)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return pending.pop(0) if pending else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def http(path: str, method: str = "POST") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": [(b"content-type", b"application/json")]}


async def test_the_asgi_bridge_responds_like_the_aiohttp_bridge(receiver: aw.CallbackReceiver) -> None:
    app = receiver.asgi()
    expected = ExpectedKey(receiver)
    first = {"type": "http.request", "body": b'{"a"', "more_body": True}
    sent = await asgi_call(app, http(f"/wm/{expected.key}"), first, {"type": "http.request", "body": b":1}"})
    assert sent[0]["status"] == 200
    assert expected.deliveries[0].body == b'{"a":1}'
    assert expected.deliveries[0].content_type == "application/json"
    for scope, code in ((http("/unknown"), 404), (http("/x", "PUT"), 405), (http("/x", "GET"), 404)):
        assert (await asgi_call(app, scope, {"type": "http.request"}))[0]["status"] == code
    big = {"type": "http.request", "body": b"x" * 100_000, "more_body": True}
    assert (await asgi_call(app, http(f"/{expected.key}"), big))[0]["status"] == 413
    assert (await asgi_call(app, http(f"/{expected.key}"), first))[0]["status"] == 400
    assert (await asgi_call(app, {"type": "websocket"}))[0]["type"] == "websocket.close"
    lifespan = await asgi_call(app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [message["type"] for message in lifespan] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_lent_media_is_served_until_it_is_revoked(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver
) -> None:
    data = make_jpeg(padding=500_000)
    link, key_hash = registry_of(receiver).serve_media(aw.as_media(data, name="mark é.png"))
    path = link.url.removeprefix(receiver.public_url)
    async with aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{server.port}/wm"
        async with session.get(base + path) as response:
            assert await response.read() == data
            assert response.content_type == "image/png"
        async with session.head(base + path) as response:
            assert response.content_length == len(data)
        registry_of(receiver).stop_serving(key_hash)
        async with session.get(base + path) as response:
            assert response.status == 404
    sent = await asgi_call(receiver.asgi(), http(path, "GET"), {"type": "http.request"})
    assert sent[0]["status"] == 404
