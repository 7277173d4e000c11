"""Dewatermark's video API and its storage host on bare sockets; a test sets how each transfer is answered.

One server on 127.0.0.1 plays all hosts. By the request it is

    PUT  (any path)                 the storage host: the next of `upload_handlers`, else the upload is accepted
    GET  /result...                 the storage host: the next of `download_handlers`, else the result is served
    POST /api/video/v1/upload       the API: a ticket with a new task id and a signed upload URL
    POST /api/video/v1/tasks        the API: the paid start of a task
    GET  /api/video/v1/tasks/...    the API: the next of `states`, else a completed task with a link to the result

Handlers write to the socket themselves, because the tests are about what no HTTP server library would send: bodies
that end early, answers before the request was read, connections that stall or are reset. Everything received is kept
in `requests`, uploads that arrived completely in `stored`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from attrs import Factory, define, field, frozen

import aiowatermark as aw
from aiowatermark.transport.http import HttpTransport
from tests.support.log_search import KEYS

KEY = str(KEYS["dewatermark"])
# what careless clients rewrite: a slash, a tilde, a plus, commas, a needlessly encoded A
SIGNED_TARGET = "/bucket/a%2Fb%7Ec,:@/%41?X-Goog-Signature=a%2Fb%2B%3D+~,:@&X-Goog-Date=20261121T000000Z"


@frozen
class ReceivedRequest:
    """A request as received: the lines of its head, and as much of its body as was read."""

    lines: tuple[str, ...]
    body: bytes = b""

    @property
    def method(self) -> str:
        return self.lines[0].split(" ")[0]

    @property
    def target(self) -> str:
        return self.lines[0].split(" ")[1]

    @property
    def headers(self) -> dict[str, str]:
        pairs = (line.partition(": ") for line in self.lines[1:])
        return {name.lower(): value for name, _, value in pairs}

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))


@define
class Exchange:
    """One request and the connection on which it is answered."""

    host: MediaHost
    request: ReceivedRequest
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self, size: int) -> bytes:
        """Read `size` bytes of the body, or fewer if it ends before."""
        body = b""
        while len(body) < size and (block := await self.reader.read(min(1 << 20, size - len(body)))):
            body += block
        return body

    def respond(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Write a complete response; `_` in a header's name stands for `-`."""
        self.send_head(status, len(body), **headers)
        self.writer.write(body)

    def send_head(self, status: int, length: int | None, **headers: str) -> None:
        """Write the head of a response; without a length no Content-Length is sent."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if length is not None:
            named = {"Content-Length": str(length), **named}
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in named.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    async def send_and_close(self, data: bytes) -> None:
        """Send bytes of the body and close the connection."""
        self.writer.write(data)
        await self.writer.drain()
        self.writer.close()


RequestHandler = Callable[[Exchange], Awaitable[None]]
"""Answers one request, or breaks its connection."""


async def accept_upload(exchange: Exchange) -> None:
    """Read the whole upload and store it."""
    body = await exchange.read(exchange.request.length)
    if len(body) == exchange.request.length:
        exchange.host.stored.append(body)
        exchange.respond(200, ETag='"e"')


def abort_after(size: int) -> RequestHandler:
    """Reset the connection after `size` bytes of the body."""

    async def handler(exchange: Exchange) -> None:
        await exchange.read(size)
        exchange.writer.transport.abort()

    return handler


def refuse(status: int, code: str = "", *, unread: bool = False, **headers: str) -> RequestHandler:
    """Answer with an XML error, after reading the body or, if `unread`, before."""

    async def handler(exchange: Exchange) -> None:
        if not unread:
            await exchange.read(exchange.request.length)
        body = f"<?xml?><Error><Code>{code}</Code></Error>".encode() if code else b""
        exchange.respond(status, body, **headers)
        if unread:
            # closing with unread data would reset the connection, and the answer with it
            await exchange.writer.drain()
            while await exchange.reader.read(1 << 20):
                pass

    return handler


async def never_read(exchange: Exchange) -> None:
    """Read nothing of the body and answer nothing."""
    await exchange.host.closing.wait()


async def serve_result(exchange: Exchange) -> None:
    """Answer with the result, or with the requested range of it."""
    data, requested = exchange.host.result, exchange.request.headers.get("range")
    if requested is None:
        exchange.respond(200, data, ETag='"one"')
        return
    start = int(requested.removeprefix("bytes=").removesuffix("-"))
    exchange.respond(206, data[start:], ETag='"one"', Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")


def close_after(size: int, *, etag: str | None = '"one"') -> RequestHandler:
    """Announce the whole result, send `size` bytes of it and close the connection."""

    async def handler(exchange: Exchange) -> None:
        exchange.send_head(200, len(exchange.host.result), **({} if etag is None else {"ETag": etag}))
        await exchange.send_and_close(exchange.host.result[:size])

    return handler


async def serve_without_length(exchange: Exchange) -> None:
    """Send the result without its length; it ends with the connection."""
    exchange.send_head(200, None, Connection="close")
    await exchange.send_and_close(exchange.host.result)


@define
class MediaHost:
    """The API and the storage host on one port; handlers are used once each, in order."""

    states: list[dict[str, Any]] = Factory(list)
    upload_handlers: list[RequestHandler] = Factory(list)
    download_handlers: list[RequestHandler] = Factory(list)
    result: bytes = b"restored video"
    requests: list[ReceivedRequest] = Factory(list)
    stored: list[bytes] = Factory(list)
    tickets: int = 0
    start_requests: list[ReceivedRequest] = Factory(list)
    origin: str = ""
    closing: asyncio.Event = Factory(asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    @property
    def uploads(self) -> list[ReceivedRequest]:
        """Requests to the signed upload URL."""
        return [request for request in self.requests if request.method == "PUT"]

    @property
    def downloads(self) -> list[ReceivedRequest]:
        """Requests for the result."""
        return [request for request in self.requests if request.target.startswith("/result")]

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[MediaHost]:
        server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.closing.set()
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def provider(self, **settings: Any) -> aw.Dewatermark:
        """A provider that uses this host and polls fast."""
        return aw.Dewatermark(KEY, base_url=self.origin, polling=aw.Polling(first=0.01, ceiling=0.02), **settings)

    def client(self, *, stall: float = 30.0, **settings: Any) -> aw.Client:
        """A client of this host; `stall` is the transfers' stall timeout in seconds."""
        provider = self.provider()
        return aw.Client(provider, transport=HttpTransport(provider, stall=stall), drain=0.1, **settings)

    def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve_connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    head = await reader.readuntil(b"\r\n\r\n")
                    request = ReceivedRequest(tuple(head.decode().split("\r\n")[:-2]))
                    await self._answer(Exchange(self, request, reader, writer))
                    await writer.drain()
        finally:
            writer.transport.abort()

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method == "PUT":
            # noted before its body is read: the handler may never do so
            self.requests.append(request)
            await (self.upload_handlers.pop(0) if self.upload_handlers else accept_upload)(exchange)
            return
        body = await exchange.read(request.length)
        self.requests.append(ReceivedRequest(request.lines, body))
        if request.target.startswith("/result"):
            await (self.download_handlers.pop(0) if self.download_handlers else serve_result)(exchange)
            return
        answer = json.dumps(self._api_answer(request, body)).encode()
        exchange.respond(200, answer, Set_Cookie="session=canary", Content_Type="json")

    def _api_answer(self, request: ReceivedRequest, body: bytes) -> dict[str, Any]:
        if request.target == "/api/video/v1/upload":
            self.tickets += 1
            url = f"{self.origin}{SIGNED_TARGET}&ticket={self.tickets}"
            return {"task_id": f"task-{self.tickets}", "upload_signed_url": url, "status": "CREATED"}
        if request.target == "/api/video/v1/tasks":
            self.start_requests.append(ReceivedRequest(request.lines, body))
            return {"status": "CREATED"}
        done = {"status": "COMPLETED", "download_signed_url": f"{self.origin}/result%2Fvideo?sig=a%2Fb"}
        details = {"has_watermark": True, "duration": 51.3, "completed_at": 1763794728, "progress": 1}
        return self.states.pop(0) if self.states else {**done, **details}
