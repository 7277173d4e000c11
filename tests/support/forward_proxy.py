"""A forward proxy on loopback: CONNECT, and requests in absolute form; it notes what passes."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

_HEAD_LIMIT = 1 << 16


class ForwardProxy:
    """Relays to any host, or to `only` if it is given, whatever host was asked for.

    `requests` holds the method and the target of each request, `credentials` those that were sent to the proxy, and
    `status`, if it is set, is answered instead of relaying.
    """

    def __init__(self, *, only: tuple[str, int] | None = None) -> None:
        self.only = only
        self.status: int | None = None
        self.requests: list[tuple[str, str]] = []
        self.credentials: set[str] = set()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The proxy's URL."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request; the connection is closed after it."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, _, rest = head.partition("\r\n")
        method, target, _ = line.split(" ")
        self.requests.append((method, target))
        lines = rest.rstrip("\r\n").split("\r\n")
        for each in lines:
            if each.lower().startswith("proxy-authorization: basic "):
                self.credentials.add(b64decode(each.rpartition(" ")[2]).decode())
        if self.status is not None:
            writer.write(f"HTTP/1.1 {self.status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = self.only or (parts.hostname or "", parts.port or 80)
        upstream_reader, upstream = await asyncio.open_connection(host, port)
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = target[target.index(parts.netloc) + len(parts.netloc) :] or "/"
                kept = [each for each in lines if not each.lower().startswith(("proxy-", "connection:"))]
                upstream.write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode())
            sending = asyncio.create_task(_copy(reader, upstream))
            try:
                await _copy(upstream_reader, writer)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        finally:
            upstream.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while block := await reader.read(1 << 16):
            writer.write(block)
            await writer.drain()
