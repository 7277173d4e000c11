"""Connections of the callback server: no honest delivery is lost to a limit, and no stranger keeps others out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

import aiowatermark as aw
from aiowatermark.callbacks import connections
from aiowatermark.callbacks.server import hostile_input
from aiowatermark.emulator import Emulator
from tests.support.callback_mounts import (
    MOUNTS,
    ExpectedKey,
    read_to_end,
    request,
    send_raw,
    serve_mounted,
    status_of,
)
from tests.support.callback_server import serve_callbacks
from tests.support.certificates import client_context, server_context
from tests.support.images import make_jpeg
from tests.support.waiting import wait_until


@pytest.fixture
def receiver() -> aw.CallbackReceiver:
    return aw.CallbackReceiver("https://hooks.example.com/wm")


@pytest.fixture
def expected(receiver: aw.CallbackReceiver) -> ExpectedKey:
    return ExpectedKey(receiver)


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the time of connections to fractions of a second."""
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.2)
    monkeypatch.setattr(connections, "_HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connections, "_HANDSHAKE_SECONDS", 0.2)
    monkeypatch.setattr(connections, "_SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("aiowatermark.callbacks.aiohttp._BODY_SECONDS", 0.2)


@asynccontextmanager
async def connect(port: int, first: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection and send some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(first)
        yield reader, writer
    finally:
        writer.close()


def open_connections(server: aw.CallbackServer) -> int:
    assert server._connections is not None
    return server._connections.open_connections


def test_a_connection_that_has_not_spoken_may_stay_for_longer_than_pooled_clients_keep_it() -> None:
    assert connections._IDLE_SECONDS > 90


BODY_BEGUN = b"POST /KEY HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("start", [b"", b"POST /x HTTP/1.1\r\n", BODY_BEGUN])
async def test_silent_connections_and_slow_heads_and_bodies_are_closed(
    receiver: aw.CallbackReceiver, expected: ExpectedKey, start: bytes
) -> None:
    start = start.replace(b"KEY", expected.key.encode())
    async with aw.CallbackServer(receiver, port=0) as server, connect(server.port, start) as (reader, writer):
        slow_sender = asyncio.create_task(send_slowly(writer if start else None))
        response = await read_to_end(reader)
        slow_sender.cancel()
        await asyncio.gather(slow_sender, return_exceptions=True)
        await wait_until(lambda: open_connections(server) == 0)
    assert status_of(response) == (408 if b"Length" in start else 0)
    assert expected.deliveries == []


async def send_slowly(writer: asyncio.StreamWriter | None) -> None:
    while writer is not None and not writer.is_closing():
        writer.write(b"a")
        await asyncio.sleep(0.02)


async def test_a_request_that_arrives_as_its_connection_exceeds_the_limit_is_answered(
    receiver: aw.CallbackReceiver, expected: ExpectedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(connections, "_SWEEP_SECONDS", 3600)
    async with aw.CallbackServer(receiver, port=0) as server, connect(server.port) as (reader, writer):
        await wait_until(lambda: open_connections(server) == 1)
        assert server._connections is not None
        writer.write(request(f"/{expected.key}"))  # asyncio sends it now: it is in the kernel's buffer
        (waiting,) = server._connections._waiting.values()
        assert not waiting.is_overdue(asyncio.get_running_loop().time())
        assert not server._connections._abort_oldest()
        assert status_of(await read_to_end(reader)) == 200
    assert len(expected.deliveries) == 1


async def test_the_oldest_connection_that_has_not_sent_a_request_gives_way(
    receiver: aw.CallbackReceiver, expected: ExpectedKey
) -> None:
    async with (
        aw.CallbackServer(receiver, port=0, connections=3) as server,
        connect(server.port, b"POST ") as (dripping, _),
        connect(server.port) as (silent, _),
        connect(server.port) as (youngest, writer),
    ):
        await wait_until(lambda: open_connections(server) == 3)
        assert status_of(await send_raw(server.port, request(f"/{expected.key}"))) == 200
        assert await read_to_end(dripping) == b""
        await wait_until(lambda: open_connections(server) == 2)
        async with connect(server.port), connect(server.port):
            assert await read_to_end(silent) == b""
            assert open_connections(server) <= 3
            writer.write(request(f"/{expected.key}"))
            assert status_of(await read_to_end(youngest)) == 200


async def test_a_connection_that_is_being_answered_never_gives_way(
    receiver: aw.CallbackReceiver, expected: ExpectedKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    head = f"POST /{expected.key} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode()
    async with (
        aw.CallbackServer(receiver, port=0, connections=1) as server,
        connect(server.port, head) as (reader, writer),
    ):
        await wait_until(lambda: server._connections is not None and server._connections._busy)
        for _ in range(20):
            assert await send_raw(server.port, request(f"/{expected.key}")) == b""
        writer.write(b"{}")
        assert status_of(await read_to_end(reader)) == 200
    assert len(expected.deliveries) == 1
    assert caplog.text.count("all connections are being answered") <= 1


async def test_silent_connections_do_not_keep_callbacks_out(emulator: Emulator, receiver: aw.CallbackReceiver) -> None:
    async with serve_callbacks(receiver, connections=100) as server:
        held = [asyncio.create_task(hold_connection(server.port)) for _ in range(400)]
        await asyncio.sleep(0)
        async with aw.Client(emulator.provider("gptge"), callbacks=receiver) as client:
            results = await asyncio.gather(*(client.remove(make_jpeg(), deadline=25) for _ in range(20)))
        assert open_connections(server) <= 100
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
    # the next poll would be due after the deadline: every job was woken by its callback
    assert all(result.url for result in results)


async def hold_connection(port: int) -> None:
    """Open a connection, say nothing, and open another one when it is closed."""
    while True:
        try:
            async with connect(port) as (reader, _):
                await reader.read()
        except OSError:
            await asyncio.sleep(0.01)


@pytest.fixture
async def tls_server(receiver: aw.CallbackReceiver, tmp_path: Path) -> AsyncIterator[aw.CallbackServer]:
    """A server with TLS and room for 10 connections."""
    async with aw.CallbackServer(receiver, port=0, ssl=server_context(tmp_path), connections=10) as server:
        yield server


async def test_callbacks_arrive_over_tls_although_handshakes_are_never_finished(
    tls_server: aw.CallbackServer, expected: ExpectedKey
) -> None:
    async with AsyncExitStack() as held:
        for _ in range(30):
            await held.enter_async_context(connect(tls_server.port))
        await wait_until(lambda: open_connections(tls_server) == 10)
        reader, writer = await asyncio.open_connection("127.0.0.1", tls_server.port, ssl=client_context())
        assert open_connections(tls_server) <= 10
        writer.write(request(f"/{expected.key}"))
        assert status_of(await read_to_end(reader)) == 200
        writer.close()
    assert len(expected.deliveries) == 1


@pytest.mark.usefixtures("short_limits")
async def test_a_tls_handshake_that_is_not_finished_is_ended(tls_server: aw.CallbackServer) -> None:
    plain_text = request("/x")
    async with connect(tls_server.port) as (silent, _), connect(tls_server.port, plain_text) as (plain, _):
        assert await read_to_end(silent) == b""
        assert not (await read_to_end(plain)).startswith(b"HTTP")
    await wait_until(lambda: open_connections(tls_server) == 0)


async def test_leaving_the_server_answers_what_has_arrived_and_closes_the_rest(
    receiver: aw.CallbackReceiver, expected: ExpectedKey
) -> None:
    async with (
        aw.CallbackServer(receiver, port=0) as server,
        connect(server.port) as (silent, _),
        connect(server.port) as (speaking, writer),
    ):
        await wait_until(lambda: open_connections(server) == 2)
        writer.write(request(f"/{expected.key}"))
        await server.__aexit__()
        assert status_of(await read_to_end(speaking)) == 200
        assert await read_to_end(silent) == b""
    assert len(expected.deliveries) == 1


async def test_malformed_requests_are_logged_once_with_a_count(
    receiver: aw.CallbackReceiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "aiowatermark")
    now = 1e9
    monkeypatch.setattr("aiowatermark.callbacks.throttle.monotonic", lambda: now)
    hostile_input._kinds.clear()
    async with aw.CallbackServer(receiver, port=0) as server:
        for _ in range(50):
            assert status_of(await send_raw(server.port, b"POST /canary and more HTTP/1.1\r\n\r\n")) == 400
        now += 61
        assert status_of(await send_raw(server.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")) == 400
    hostile_input._kinds.clear()
    assert [record.getMessage() for record in caplog.records if record.name == "aiowatermark.callbacks"] == [
        "refused a malformed HTTP request",
        "refused a malformed HTTP request (49 more before)",
    ]
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.slow
@pytest.mark.parametrize("mount", MOUNTS)
async def test_no_delivery_of_pooled_senders_is_lost_whatever_their_gaps(
    receiver: aw.CallbackReceiver, expected: ExpectedKey, mount: str
) -> None:
    # around the ages at which servers close connections: uvicorn after 5 s of silence
    waits = (0.0, 0.5, 1.0, 1.005, 2.0, 2.005, 4.99, 5.0, 5.005, 9.99, 10.0, 10.005)
    async with (
        serve_mounted(receiver, mount) as port,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session,
    ):

        async def post(delay: float) -> int:
            await asyncio.sleep(delay)
            async with session.post(f"http://127.0.0.1:{port}/wm/{expected.key}", json={"a": 1}) as response:
                return response.status

        # `gather` raises what a request raises: a connection that was closed on it
        statuses = await asyncio.gather(*(post(wait + number / 40_000) for wait in waits for number in range(850)))
    assert statuses == [200] * len(expected.deliveries)
    assert len(statuses) == 10_200
