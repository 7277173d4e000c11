"""Serves a callback receiver in three ways: with the SDK's own server, in aiohttp, and as ASGI in uvicorn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import uvicorn
from aiohttp import web

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from tests.support.http_server import serve_application
from tests.support.waiting import wait_until

MOUNTS = ("server", "aiohttp", "uvicorn")


class ExpectedKey:
    """A key that the receiver expects, and the deliveries to it."""

    def __init__(self, receiver: aw.CallbackReceiver) -> None:
        url, key_hash = registry_of(receiver).create_url()
        self.key = url.rsplit("/", 1)[1]
        self.deliveries: list[aw.Delivery] = []
        registry_of(receiver).expect(key_hash, self.deliveries.append)


@asynccontextmanager
async def serve_mounted(receiver: aw.CallbackReceiver, mount: str) -> AsyncIterator[int]:
    """Serve a receiver below /wm, as one of MOUNTS; yields the port."""
    if mount == "server":
        async with aw.CallbackServer(receiver, port=0) as server:
            yield server.port
    elif mount == "aiohttp":
        app = web.Application()
        receiver.setup(app, path="/wm")
        async with serve_application(app) as url:
            yield urlsplit(url).port or 0
    else:
        async with _serve_uvicorn(receiver) as port:
            yield port


@asynccontextmanager
async def _serve_uvicorn(receiver: aw.CallbackReceiver) -> AsyncIterator[int]:
    config = uvicorn.Config(receiver.asgi(), log_config=None, access_log=False, http="h11", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        await wait_until(lambda: server.started)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def send_raw(port: int, data: bytes, *, more: bytes = b"") -> bytes:
    """Send raw bytes, and `more` in a second segment; returns what the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        if more:
            with suppress(ConnectionError):
                await writer.drain()
            writer.write(more)
        return await read_to_end(reader)
    finally:
        writer.close()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """What the server sends until it closes or aborts the connection."""
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(30):
            while block := await reader.read(1 << 16):
                received += block
    return received


def request(path: str, body: bytes = b"{}", method: str = "POST", headers: str = "") -> bytes:
    """A request in one segment; the connection may be kept after it."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + body


def status_of(response: bytes) -> int:
    """The status of a raw response, 0 if there is none."""
    return int(response.split(b" ", 2)[1]) if response else 0
