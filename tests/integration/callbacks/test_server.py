"""The doors over real sockets: hostile input ends in a 4xx or a closed connection, never in a 5xx."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.callbacks import server as server_module
from aiowatermark.emulator import Emulator


class Ring:
    """A key that is expected, and how often it was called."""

    def __init__(self, receiver: aw.CallbackReceiver) -> None:
        url, callback = receiver.create_url()
        self.key = url.rsplit("/", 1)[1]
        self.deliveries: list[aw.Delivery] = []
        receiver.expect(callback, self.deliveries.append)


@pytest.fixture
def receiver() -> aw.CallbackReceiver:
    return aw.CallbackReceiver("https://hooks.example.com/wm")


@pytest.fixture
async def server(receiver: aw.CallbackReceiver) -> AsyncIterator[aw.CallbackServer]:
    async with aw.CallbackServer(receiver, port=0) as running:
        yield running


async def raw(port: int, data: bytes, *, more: bytes = b"") -> bytes:
    """What a server answers to bytes as they are, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if more:
            await writer.drain()
            writer.write(more)
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def request(path: str, body: bytes = b"{}", method: str = "POST", headers: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


async def test_a_delivery_to_an_expected_key_is_acknowledged(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver
) -> None:
    ring = Ring(receiver)
    for path in (f"/{ring.key}", f"/wm/{ring.key}", f"/any/where/{ring.key}?x=1"):
        assert status(await raw(server.port, request(path, b'{"a":1}'))) == 200
    assert [delivery.body for delivery in ring.deliveries] == [b'{"a":1}'] * 3


BODIES = [
    b"[" * 50_000,
    b'{"a":' * 10_000,
    b"NaN",
    b"9" * 5000,
    b"null",
    b"[]",
    b"\xff\xfe\x00",
    b"",
    gzip.compress(b"\0" * 3_000_000),
]


@pytest.mark.parametrize("body", BODIES)
async def test_whatever_the_body_holds_the_job_is_only_woken(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver, body: bytes
) -> None:
    ring = Ring(receiver)
    answer = await raw(server.port, request(f"/{ring.key}", body, headers="Content-Encoding: gzip\r\n"))
    assert status(answer) == 200
    assert len(ring.deliveries) == 1
    provider = aw.GptGe("canary-1")
    from aiowatermark.jobs import Record

    try:
        told = provider.parse_callback(ring.deliveries[0], Record("k", "gptge"))
    except aw.WatermarkError:
        told = None
    assert told is None or not told.status.terminal


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
async def test_unknown_and_misshapen_keys_are_refused(server: aw.CallbackServer, path: str, method: str) -> None:
    answer = await raw(server.port, request(path, method=method))
    assert status(answer) in {400, 404, 405}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_do_not_wake_a_job(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver, method: str
) -> None:
    ring = Ring(receiver)
    assert status(await raw(server.port, request(f"/{ring.key}", method=method))) in {404, 405}
    assert ring.deliveries == []


async def test_a_body_over_the_limit_is_refused_without_being_read(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver
) -> None:
    ring = Ring(receiver)
    assert status(await raw(server.port, request(f"/{ring.key}", b"x" * 3_000_000))) in {413, 0}
    chunked = f"POST /{ring.key} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert status(
        await raw(server.port, chunked, more=b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" + b"y" * 65536)
    ) in {413, 0}
    assert ring.deliveries == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become moments."""
    monkeypatch.setattr(server_module, "_MAX_AGE", 0.3)
    monkeypatch.setattr(server_module, "_IDLE_SECONDS", 0.2)
    monkeypatch.setattr("aiowatermark.callbacks.aiohttp._BODY_SECONDS", 0.2)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("start", [b"", b"POST /x HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"])
async def test_idle_header_dripping_and_body_dripping_connections_are_closed(
    receiver: aw.CallbackReceiver, start: bytes
) -> None:
    async with aw.CallbackServer(receiver, port=0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(start)
        drip = asyncio.create_task(_drip(writer))
        async with asyncio.timeout(3):
            answer = await _read_all(reader)
        drip.cancel()
        await asyncio.gather(drip, return_exceptions=True)
        writer.close()
    assert status(answer) in {0, 400, 408}


async def _drip(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"a")
        await asyncio.sleep(0.05)


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_surplus_connections_are_dropped_and_real_jobs_keep_resolving(
    emulator: Emulator, receiver: aw.CallbackReceiver, picture: Any
) -> None:
    async with aw.CallbackServer(receiver, port=0, connections=200) as server:
        receiver.public_url = f"http://127.0.0.1:{server.port}"
        hostile = [asyncio.create_task(_hold(server.port)) for _ in range(1000)]
        await asyncio.sleep(0)
        async with aw.Client(emulator.provider("gptge"), callbacks=receiver, polling=aw.Polling(0.5, 1, 1)) as client:
            results = await asyncio.gather(*(client.remove(picture(), deadline=30) for _ in range(50)))
        assert server._runner is not None
        assert len(server._runner.server.connections if server._runner.server else []) <= 200
        for task in hostile:
            task.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)
    assert all(result.url for result in results)


async def _hold(port: int) -> None:
    writer = None
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.Event().wait()
    except OSError:
        return
    finally:
        if writer is not None:
            writer.close()


async def test_a_taken_port_is_named(server: aw.CallbackServer, receiver: aw.CallbackReceiver) -> None:
    with pytest.raises(aw.InvalidInput, match=str(server.port)):
        async with aw.CallbackServer(receiver, port=server.port):
            pass


async def test_no_line_of_any_log_holds_a_key(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    ring = Ring(receiver)
    await raw(server.port, request(f"/{ring.key}"))
    await raw(server.port, f"POST /{ring.key} and more HTTP/1.1\r\n\r\n".encode())
    assert len(ring.deliveries) == 1
    assert ring.key not in caplog.text


@pytest.mark.parametrize(
    "url", ["", "hooks.example.com", "ftp://x", "https://", "https://u:p@x.example", "https://x/?a=1"]
)
def test_a_public_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(aw.InvalidInput, match="public_url"):
        aw.CallbackReceiver(url)


async def test_it_mounts_in_an_aiohttp_application(receiver: aw.CallbackReceiver) -> None:
    app = web.Application()
    receiver.setup(app, path="/wm")
    ring = Ring(receiver)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{base}/wm/{ring.key}", json={}) as answer:
            assert answer.status == 200
        async with session.post(f"{base}/{ring.key}", json={}) as answer:
            assert answer.status == 404
    await runner.cleanup()
    assert len(ring.deliveries) == 1


async def asgi_call(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """A bare ASGI harness."""
    waiting = list(messages)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def http(path: str, method: str = "POST") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": [(b"content-type", b"application/json")]}


async def test_the_asgi_door_answers_as_the_others_do(receiver: aw.CallbackReceiver) -> None:
    app = receiver.asgi()
    ring = Ring(receiver)
    first = {"type": "http.request", "body": b'{"a"', "more_body": True}
    sent = await asgi_call(app, http(f"/wm/{ring.key}"), first, {"type": "http.request", "body": b":1}"})
    assert sent[0]["status"] == 200
    assert ring.deliveries[0].body == b'{"a":1}'
    assert ring.deliveries[0].content_type == "application/json"
    for scope, expected in ((http("/nobody"), 404), (http("/x", "PUT"), 405), (http("/x", "GET"), 404)):
        assert (await asgi_call(app, scope, {"type": "http.request"}))[0]["status"] == expected
    big = {"type": "http.request", "body": b"x" * 100_000, "more_body": True}
    assert (await asgi_call(app, http(f"/{ring.key}"), big))[0]["status"] == 413
    assert (await asgi_call(app, http(f"/{ring.key}"), first))[0]["status"] == 400
    assert (await asgi_call(app, {"type": "websocket"}))[0]["type"] == "websocket.close"
    lifespan = await asgi_call(app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [message["type"] for message in lifespan] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_lent_media_is_served_while_it_is_lent(
    server: aw.CallbackServer, receiver: aw.CallbackReceiver, picture: Any
) -> None:
    data = picture(padding=500_000)
    link, lent = receiver.lend(aw.as_media(data, name="mark é.png"))
    path = link.url.removeprefix(receiver.public_url)
    async with aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{server.port}/wm"
        async with session.get(base + path) as answer:
            assert await answer.read() == data
            assert answer.content_type == "image/png"
        async with session.head(base + path) as answer:
            assert answer.content_length == len(data)
        receiver.revoke(lent)
        async with session.get(base + path) as answer:
            assert answer.status == 404
    sent = await asgi_call(receiver.asgi(), http(path, "GET"), {"type": "http.request"})
    assert sent[0]["status"] == 404


async def test_it_speaks_tls_with_a_context_of_ones_own(receiver: aw.CallbackReceiver) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with aw.CallbackServer(receiver, port=0, ssl=context) as server:
        answer = await raw(server.port, request("/x"))
    assert not answer.startswith(b"HTTP")
