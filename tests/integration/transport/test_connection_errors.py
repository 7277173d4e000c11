"""What is said of a connection that fails: plain words, without class names, error numbers and addresses."""

from __future__ import annotations

import asyncio
import builtins
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

import aiowatermark as aw
from aiowatermark.callbacks.probe import ProbeVerdict, check_reachable
from aiowatermark.connection_errors import _MEANINGS, connection_problem
from aiowatermark.emulator.backend.limits import JobFailure
from aiowatermark.emulator.backend.links import LinkFetcher
from aiowatermark.transport import url_guard
from aiowatermark.transport.http import HttpTransport
from aiowatermark.wire import Request
from tests.support.certificates import server_context
from tests.support.http_server import free_port

PYTHON_WORDS = re.compile(r"[a-z]Error|Errno|\('|ssl:|_ssl")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


async def close(_: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""


async def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def cut(writer: asyncio.StreamWriter) -> None:
    """Answer with fewer bytes than were announced."""
    writer.write(HEAD + b"abc")


async def babble(writer: asyncio.StreamWriter) -> None:
    """Answer with something that is not HTTP."""
    writer.write(b"hello\r\n\r\n")


async def hang(_: asyncio.StreamWriter) -> None:
    """Answer nothing."""
    await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def served(
    behave: Callable[[asyncio.StreamWriter], object], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve on a free port, which is yielded; each connection is answered by `behave` once it has sent something."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(100)
            await behave(writer)  # type: ignore[misc]
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    tasks: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(
        lambda reader, writer: tasks.append(asyncio.create_task(serve(reader, writer))), "127.0.0.1", 0, ssl=tls
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def failure_at(base_url: str) -> str:
    """Return what the transport says of a query that fails."""
    async with HttpTransport(aw.Kaze("canary-1", base_url=base_url)) as transport:
        with pytest.raises(aw.ProviderUnavailable) as caught:
            await transport.perform(Request("GET", "/"), timeout=0.2)
    return caught.value.message


BEHAVIOURS = [
    (close, "the connection was closed before the answer"),
    (reset, "the connection was closed before the answer was complete (Connection reset by peer)"),
    (cut, "the connection was closed before the answer was complete"),
    (babble, "the answer is not valid HTTP"),
    (hang, "timed out"),
]


@pytest.mark.parametrize(("behave", "problem"), BEHAVIOURS)
async def test_an_answer_that_does_not_come_is_said_in_words(
    behave: Callable[[asyncio.StreamWriter], object], problem: str
) -> None:
    async with served(behave) as port:
        assert await failure_at(f"http://127.0.0.1:{port}") == f"Kaze: no answer was received: {problem}"


@pytest.mark.parametrize(("behave", "problem"), [each for each in BEHAVIOURS if each[0] is not hang])
async def test_a_result_that_does_not_come_is_said_in_words(
    behave: Callable[[asyncio.StreamWriter], object], problem: str, no_retry_delays: None
) -> None:
    async with served(behave) as port:
        url = f"http://127.0.0.1:{port}"
        async with HttpTransport(aw.Kaze("canary-1", base_url=url)) as transport:
            with pytest.raises(aw.TransferFailed) as caught:
                await transport.read(f"{url}/clean.png", None)
    assert caught.value.message.endswith(problem)
    assert not PYTHON_WORDS.search(caught.value.message)


async def test_an_address_where_nothing_listens_is_said_in_words() -> None:
    port = free_port()
    problem = "Kaze: could not be reached: Connection refused"
    assert [await failure_at(f"http://{host}:{port}") for host in ("127.0.0.1", "localhost")] == [problem, problem]


async def test_a_certificate_that_is_not_valid_and_a_port_without_tls_are_said_in_words(tmp_path: Path) -> None:
    async with served(close, server_context(tmp_path)) as port:
        certificate = await failure_at(f"https://127.0.0.1:{port}")
    async with served(babble) as port:
        plain = await failure_at(f"https://127.0.0.1:{port}")
    assert certificate.startswith("Kaze: could not be reached: the TLS certificate is not valid (")
    assert plain == "Kaze: could not be reached: the TLS handshake failed (wrong version number)"
    assert not PYTHON_WORDS.search(certificate)


@pytest.mark.parametrize(("behave", "problem"), [each for each in BEHAVIOURS if each[0] is not hang])
async def test_doctor_and_the_emulator_say_the_same(
    behave: Callable[[asyncio.StreamWriter], object], problem: str
) -> None:
    async with served(behave) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/"
        probe = await check_reachable(url)
        if behave is not cut:  # a probe reads no more than the head
            assert (probe.verdict, probe.sentence) == (ProbeVerdict.DISCONNECTED, problem)
        with pytest.raises(JobFailure, match=re.escape(problem)):
            await LinkFetcher(session).fetch(url, 1000)


KEY = ConnectionKey("host.example", 443, True, True, None, None, None)
ERRORS = [
    (
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")),
        "the host name was not found (Temporary failure in name resolution)",
    ),
    (aiohttp.ClientProxyConnectionError(KEY, ConnectionRefusedError(111, "x")), "the proxy cannot be reached (Connec"),
    (aiohttp.ClientConnectorError(KEY, OSError(113, "Connect call failed ('10.0.0.1', 1)")), "No route to host"),
    (aiohttp.ClientConnectorError(KEY, TimeoutError(110, "x")), "timed out (Connection timed out)"),
    (aiohttp.ClientConnectorError(KEY, OSError("Multiple exceptions: [Errno 111]")), "no connection was made"),
    (aiohttp.ClientConnectorError(KEY, url_guard.ForbiddenAddress("x")), "the address is not public"),
    (aiohttp.ServerFingerprintMismatch(b"a", b"b", "h", 1), "the TLS certificate is not the expected one"),
    (aiohttp.ServerTimeoutError("Timeout on reading data from socket"), "timed out"),
    (aiohttp.ConnectionTimeoutError("Connection timeout to host"), "timed out"),
    (aiohttp.InvalidURL("http://host/?sign=canary"), "the URL is not valid"),
    (aiohttp.ClientError("of a newer version"), "the connection failed"),
    (BrokenPipeError(32, "x"), "the connection was closed before the answer was complete (Broken pipe)"),
    (TimeoutError(), "timed out"),
    (OSError(), "the connection failed"),
]


@pytest.mark.parametrize(("error", "problem"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_every_kind_of_error_has_its_words(error: Exception, problem: str) -> None:
    said = connection_problem(error)
    assert said.startswith(problem)
    assert not PYTHON_WORDS.search(said)
    assert ":" not in said
    assert "canary" not in said


def test_every_class_that_is_named_exists() -> None:
    places = (aiohttp, builtins, socket, ssl, url_guard)
    assert [name for name in _MEANINGS if not any(hasattr(place, name) for place in places)] == []
