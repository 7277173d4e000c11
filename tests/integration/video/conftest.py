"""Dewatermark's video API and its storage host on bare sockets, doing to each request what a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import Factory, define, field, frozen

import aiowatermark as aw
from aiowatermark.transport.http import HttpTransport

KEY = "canary-dewatermark-6"
# what careless clients rewrite: a slash, a tilde, a plus, commas, a needlessly encoded A
SIGNED = "/bucket/a%2Fb%7Ec,:@/%41?X-Goog-Signature=a%2Fb%2B%3D+~,:@&X-Goog-Date=20261121T000000Z"
HEAD = b"\0\0\0\x18ftypmp42"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr("aiowatermark.transport.retry.backoff.full_jitter", lambda _: 0.0)


def film(size: int) -> bytes:
    """So many bytes that begin as an MP4 does, and repeat nowhere."""
    return HEAD + random.Random(size).randbytes(size - len(HEAD))  # noqa: S311 - bytes, not keys


@frozen
class Taken:
    """A request as it came: its head's lines, and of its body what was read."""

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
class Line:
    """One connection, while a request is answered on it."""

    host: Host
    taken: Taken
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self, size: int) -> bytes:
        """So much of the body, or what there is of it."""
        body = b""
        while len(body) < size and (block := await self.reader.read(min(1 << 20, size - len(body)))):
            body += block
        return body

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer."""
        self.head(status, len(body), **headers)
        self.writer.write(body)

    def head(self, status: int, length: int | None, **headers: str) -> None:
        """An answer's head; `_` in a header's name is `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if length is not None:
            named = {"Content-Length": str(length), **named}
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in named.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())


Way = Callable[[Line], Awaitable[None]]
"""What is done about a request."""


async def stored(line: Line) -> None:
    """The upload is taken whole."""
    body = await line.read(line.taken.length)
    if len(body) == line.taken.length:
        line.host.stored.append(body)
        line.say(200, ETag='"e"')


def cut(after: int) -> Way:
    """The connection breaks after so many bytes of the body."""

    async def way(line: Line) -> None:
        await line.read(after)
        line.writer.transport.abort()

    return way


def refused(status: int, code: str = "", *, unread: bool = False, **headers: str) -> Way:
    """An XML error, after the body or, where it stays unread, at once."""

    async def way(line: Line) -> None:
        if not unread:
            await line.read(line.taken.length)
        line.say(status, f"<?xml?><Error><Code>{code}</Code></Error>".encode() if code else b"", **headers)
        if unread:
            await line.writer.drain()
            while await line.reader.read(1 << 20):
                pass

    return way


async def deaf(line: Line) -> None:
    """Nothing of the body is ever read."""
    await line.host.closing.wait()


@define
class Host:
    """All of it on one port. `puts` and `downs` are what is done about the next uploads and downloads."""

    states: list[dict[str, Any]] = Factory(list)
    puts: list[Way] = Factory(list)
    downs: list[Way] = Factory(list)
    result: bytes = b"clean film"
    taken: list[Taken] = Factory(list)
    stored: list[bytes] = Factory(list)
    tickets: int = 0
    starts: list[Taken] = Factory(list)
    origin: str = ""
    closing: asyncio.Event = Factory(asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    @property
    def uploads(self) -> list[Taken]:
        """Requests to the signed upload link."""
        return [taken for taken in self.taken if taken.method == "PUT"]

    @property
    def downloads(self) -> list[Taken]:
        """Requests for the result."""
        return [taken for taken in self.taken if taken.target.startswith("/result")]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Host]:
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
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
        """A provider that speaks to this host."""
        return aw.Dewatermark(KEY, base_url=self.origin, polling=aw.Polling(first=0.01, ceiling=0.02), **settings)

    def client(self, *, stall: float = 30.0, **settings: Any) -> aw.Client:
        """A client of it, with a watchdog of its own."""
        provider = self.provider()
        return aw.Client(provider, transport=HttpTransport(provider, stall=stall), drain=0.1, **settings)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._attend(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    head = await reader.readuntil(b"\r\n\r\n")
                    await self._answer(Taken(tuple(head.decode().split("\r\n")[:-2])), reader, writer)
                    await writer.drain()
        finally:
            writer.transport.abort()

    async def _answer(self, taken: Taken, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(self, taken, reader, writer)
        if taken.method == "PUT":
            self.taken.append(taken)
            await (self.puts.pop(0) if self.puts else stored)(line)
            return
        body = await line.read(taken.length)
        self.taken.append(Taken(taken.lines, body))
        if taken.target.startswith("/result"):
            await (self.downs.pop(0) if self.downs else whole)(line)
            return
        line.say(200, json.dumps(self._told(taken, body)).encode(), Set_Cookie="session=canary", Content_Type="json")

    def _told(self, taken: Taken, body: bytes) -> dict[str, Any]:
        if taken.target == "/api/video/v1/upload":
            self.tickets += 1
            link = f"{self.origin}{SIGNED}&ticket={self.tickets}"
            return {"task_id": f"task-{self.tickets}", "upload_signed_url": link, "status": "CREATED"}
        if taken.target == "/api/video/v1/tasks":
            self.starts.append(Taken(taken.lines, body))
            return {"status": "CREATED"}
        done = {"status": "COMPLETED", "download_signed_url": f"{self.origin}/result%2Ffilm?sig=a%2Fb"}
        facts = {"has_watermark": True, "duration": 51.3, "completed_at": 1763794728, "progress": 1}
        return self.states.pop(0) if self.states else {**done, **facts}


async def whole(line: Line) -> None:
    """The result, all of it, or the range that is asked for."""
    data, wanted = line.host.result, line.taken.headers.get("range")
    if wanted is None:
        line.say(200, data, ETag='"one"')
        return
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    line.say(206, data[start:], ETag='"one"', Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Host().serving() as serving:
        yield serving


@pytest.fixture
def ways() -> Any:
    """What hosts may do, what a film is, and two texts."""
    return SimpleNamespace(stored=stored, deaf=deaf, cut=cut, refused=refused, film=film, signed=SIGNED, key=KEY)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A film of some megabytes on disk."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(film(3_000_001))
    return path
