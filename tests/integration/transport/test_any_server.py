"""Whatever a server answers, a download delivers exactly the bytes of one representation, or nothing.

The server has two versions of the result and switches between them. It answers any request with any status, range,
length, validator, encoding and cut, and serves pages of text. It does not lie in two things, which nobody could find
out: a validator belongs to one version, and a valid Content-Range says which bytes follow.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from attrs import define, field, frozen
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import aiowatermark as aw
from aiowatermark.media.inspection import ResultCheck
from aiowatermark.transport.http import HttpTransport
from tests.support.images import make_noise
from tests.support.videos import make_mp4

pytestmark = pytest.mark.slow


def other_version(data: bytes) -> bytes:
    """Return a file of the same length and structure that differs from the first in most places."""
    changed = bytearray(data)
    for index in range(max(data.find(b"\xff\xda") + 20, 80), len(data) - 16, 5):
        if 0xFF not in data[index - 1 : index + 2]:
            changed[index] ^= 0x55 if data[index] != 0xAA else 0x11
    return bytes(changed)


FILES = {kind: make_noise(40, 30, kind=kind) for kind in ("jpeg", "png", "webp")} | {"mp4": make_mp4(1500)}
VERSIONS = {kind: (data, other_version(data)) for kind, data in FILES.items()}
PAGE = b"<!DOCTYPE html><html><body>Temporarily unavailable</body></html>"


@frozen
class Answer:
    """How one request is answered. Fractions are of the length of the result."""

    version: int
    status: int
    first: float | None  # of the range; None: as requested
    last: float
    content_range: str
    length: str
    validator: str
    encoding: str
    cut: float | None
    page: bool


ANSWERS = st.builds(
    Answer,
    version=st.integers(0, 1),
    status=st.sampled_from([200] * 6 + [206] * 6 + [412, 416, 429, 500, 503, 404, 302, 204]),
    first=st.none() | st.none() | st.floats(0, 1),
    last=st.just(1.0) | st.floats(0, 1),
    content_range=st.sampled_from(["right"] * 4 + ["none", "invalid", "unknown total", "huge", "other total"]),
    length=st.sampled_from(["right"] * 4 + ["none", "chunked", "shorter", "longer"]),
    validator=st.sampled_from(["right"] * 5 + ["none", "weak", "new", "date", "date"]),
    encoding=st.sampled_from([""] * 8 + ["gzip", "gzip, damaged", "gzip, not encoded", "br"]),
    cut=st.none() | st.floats(0, 1),
    page=st.sampled_from([False] * 9 + [True]),
)


@define
class Server:
    """Answers requests on a bare socket as a script says, and further ones with the first version, as a good server."""

    versions: tuple[bytes, bytes] = (b"", b"")
    script: Iterator[Answer] = field(factory=lambda: iter(()))
    port: int = 0
    _numbers: Iterator[int] = field(factory=count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.answer(request, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, request: str, writer: asyncio.StreamWriter) -> None:
        answer = next(self.script, None)
        if answer is None:
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(self.versions[0])}\r\n\r\n"
            writer.write(head.encode() + self.versions[0])
            return
        body, headers = self.body_of(answer, request)
        headers |= self.validator_of(answer)
        body = self.encode(answer, body, headers)
        chunked = answer.length == "chunked"
        length = len(body) + {"shorter": -len(body) // 3, "longer": 7}.get(answer.length, 0)
        headers |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(max(length, 0))}
        if answer.length == "none":
            del headers["Content-Length"]
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked and body else b"0\r\n\r\n" if chunked else body
        if answer.cut is not None:
            sent = sent[: round(answer.cut * len(sent))]
        lines = [f"HTTP/1.1 {answer.status} X", "Connection: close", *(f"{name}: {headers[name]}" for name in headers)]
        writer.write("\r\n".join([*lines, "", ""]).encode() + sent)

    def body_of(self, answer: Answer, request: str) -> tuple[bytes, dict[str, str]]:
        if answer.page or answer.status not in {200, 206}:
            return PAGE, {"Retry-After": "1"}
        data = self.versions[answer.version]
        found = re.search(r"Range: bytes=(\d+)-", request)
        if answer.status == 200 and (answer.first is None or answer.content_range in {"none", "invalid", "huge"}):
            return data, {}
        first = int(found[1]) if answer.first is None and found else round((answer.first or 0) * (len(data) - 1))
        first = min(first, len(data) - 1)
        last = max(first, round(answer.last * (len(data) - 1)))
        named = {
            "right": f"bytes {first}-{last}/{len(data)}",
            "unknown total": f"bytes {first}-{last}/*",
            "other total": f"bytes {first}-{last}/{len(data) + 5}",
            "invalid": f"bytes={first}-{last}/{len(data)}",
            "huge": f"bytes {'9' * 30}-{'9' * 5000}/7",
        }
        value = named.get(answer.content_range)
        return data[first : last + 1], {} if value is None else {"Content-Range": value}

    def validator_of(self, answer: Answer) -> dict[str, str]:
        return {
            "right": {"ETag": f'"{answer.version}"'},
            "weak": {"ETag": f'W/"{answer.version}"'},
            "new": {"ETag": f'"new-{next(self._numbers)}"'},
            "date": {"Last-Modified": f"Wed, 21 Oct 2026 07:28:0{answer.version} GMT"},
        }.get(answer.validator, {})

    def encode(self, answer: Answer, body: bytes, headers: dict[str, str]) -> bytes:
        if not answer.encoding:
            return body
        name, _, how = answer.encoding.partition(", ")
        headers["Content-Encoding"] = name
        if name == "br" or how == "not encoded":
            return body
        encoded = gzip.compress(body)
        return encoded[: len(encoded) // 2] if how == "damaged" else encoded


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, no_retry_delays: None) -> None:
    """No waiting, also where the server asks for it."""
    monkeypatch.setattr("aiowatermark.transport.download._MAX_WAIT", 0.0)
    monkeypatch.setattr("aiowatermark.transport.retry.MIN_HINT", 0.0)


async def download(transport: HttpTransport, server: Server, target: Path, *, video: bool) -> ResultCheck | None:
    check = ResultCheck(video=video)
    try:
        await asyncio.wait_for(transport.download(f"http://127.0.0.1:{server.port}/r", target, None, None, check), 60.0)
    except aw.WatermarkError as error:
        event(type(error).__name__)
        return None
    event("suspect" if check.suspect else "delivered")
    return check


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", VERSIONS)
def test_the_target_holds_exactly_the_right_bytes_or_does_not_exist(kind: str) -> None:
    versions, server, loop = VERSIONS[kind], Server(), asyncio.new_event_loop()
    provider = aw.Kaze("canary-key", base_url="http://127.0.0.1:9")
    transport = HttpTransport(provider, stall=10.0)
    delivered = 0

    @settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(st.lists(ANSWERS, min_size=1, max_size=9))
    def run(script: list[Answer]) -> None:
        nonlocal delivered
        server.versions, server.script = versions, iter(script)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "clean")
            check = loop.run_until_complete(download(transport, server, target, video=kind == "mp4"))
            names = [path.name for path in Path(folder).iterdir()]
            assert names == ([] if check is None else ["clean"])
            if check is not None and not check.suspect:
                assert target.read_bytes() in versions
                delivered += 1

    async def start() -> asyncio.Server:
        await transport.__aenter__()
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        return listener

    listener = loop.run_until_complete(start())
    try:
        run()
    finally:
        listener.close()
        loop.run_until_complete(transport.__aexit__())
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert delivered > 100
