"""Callbacks on the command line, the command doctor, and the probe of public URLs behind it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aiowatermark import CallbackReceiver, CallbackServer
from aiowatermark.callbacks.probe import ProbeVerdict, probe_callbacks
from aiowatermark.emulator import Emulator, pictures
from tests.support.cli import Cli
from tests.support.http_server import free_port
from tests.support.redis_server import RedisServer


def callbacks(port: int) -> tuple[str, ...]:
    return ("--callback-url", f"http://127.0.0.1:{port}/wm", "--callback-port", str(port))


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    """Run a server that gives every request the same answer; yields its port."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if not answer:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_job_with_a_callback_is_queried_once(cli: Cli, photos: list[str]) -> None:
    async with Emulator(restore=False, processing=1.0) as emulator:
        cli.use_keys_of(emulator)
        to_emulator = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        finished = await cli("remove", *photos, *to_emulator, *callbacks(free_port()))
        assert finished.code == 0, finished.text
        assert [task.queries for task in emulator.tasks] == [1, 1, 1]
        assert all(delivery.status == 200 for delivery in emulator.deliveries)


@pytest.mark.slow
async def test_files_are_served_to_a_provider_that_accepts_urls_only(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    cli.use_keys_of(emulator)
    (tmp_path / "photo.jpg").write_bytes(pictures.sample_photo(400, 300))
    (tmp_path / "mask.png").write_bytes(pictures.sample_mask(400, 300))
    to_emulator = ("--provider", "photoeraser", "--base-url", emulator.base_url, "-o", "clean", "--mask", "mask.png")
    finished = await cli("remove", "photo.jpg", *to_emulator, *callbacks(free_port()))
    assert finished.code == 0, finished.text
    assert (tmp_path / "clean/photo-clean.jpg").read_bytes() == (tmp_path / "photo.jpg").read_bytes()


@pytest.mark.parametrize("command", ["remove", "resume"])
async def test_a_callback_port_that_is_in_use_is_one_clear_error(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, command: str
) -> None:
    async with answering(b"") as port:
        finished = await cli(command, "one.jpg", *to_emulator, "--provider", "gptge", *callbacks(port))
    assert finished.code == 2
    assert f"port {port} of 127.0.0.1 is taken by another program" in finished.err
    assert not finished.out
    assert not emulator.tasks


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--provider", "gptge", "--callback-url", "hooks.example"), 2, "like https://hooks.example.com/wm"),
        (("--provider", "gptge", "--callback-port", "8080"), 2, "require --callback-url"),
        pytest.param(
            *(("--provider", "kaze", "--callback-url", "http://127.0.0.1/wm"), 0, "Kaze has no callbacks"),
            marks=pytest.mark.slow,
        ),
    ],
)
async def test_callback_options_that_cannot_work_are_reported(  # noqa: PLR0917 - fixtures
    cli: Cli, to_emulator: list[str], photos: list[str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    finished = await cli("remove", "one.jpg", *to_emulator, *arguments)
    assert finished.code == code, finished.text
    assert message in " ".join(finished.err.split())


async def test_doctor_reports_that_all_checks_passed_and_shows_no_key(
    cli: Cli, emulator: Emulator, tmp_path: Path
) -> None:
    cli.use_keys_of(emulator)
    options = ("--provider", "kaze", "--base-url", emulator.base_url, "--store", "new.db", *callbacks(free_port()))
    finished = await cli("doctor", *options)
    assert finished.code == 0, finished.text
    assert "ok      Kaze accepts the key: 1000 credits available" in finished.out
    assert "leads to this machine: exactly the delivery that was sent arrived" in finished.out
    assert "the store new.db can be opened and written; it does not exist yet" in finished.out
    assert "All checks passed." in finished.out
    assert "canary" not in finished.text
    assert not os.listdir(tmp_path)  # noqa: PTH208 - the folder must be empty


async def test_doctor_says_what_the_settings_of_a_redis_mean(cli: Cli) -> None:
    with RedisServer("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as server:
        server.skip_quiet_time()
        finished = await cli("doctor", "--store", server.url)
    assert finished.code == 1
    assert "-       appendonly no and save off: a restart forgets every record" in finished.out
    assert "failed  maxmemory-policy allkeys-lru: when memory is full, records are deleted silently" in finished.out
    assert "-       no connected replica" in finished.out
    assert "1 failed" in finished.out


async def test_doctor_says_what_to_do_about_each_failure(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("text")
    finished = await cli("doctor", "--provider", "picwish", "--store", "text.db")
    assert finished.code == 1
    assert (
        "failed  PicWish: PICWISH_API_KEY not set\n        set PICWISH_API_KEY to the key of your PicWish account"
        in finished.out
    )
    assert "text.db is not an aiowatermark store" in finished.out
    assert "2 failed" in finished.out
    assert (tmp_path / "text.db").read_text() == "text"


async def test_doctor_tells_an_unreachable_provider_from_a_refused_key(cli: Cli, emulator: Emulator) -> None:
    cli.env |= {"KAZE_API_KEY": "wrong", "GPTGE_API_KEY": "any"}
    refused = await cli("doctor", "--provider", "kaze", "--base-url", emulator.base_url)
    assert refused.code == 1
    assert "failed  Kaze: " in refused.out
    reached = await cli("doctor", "--provider", "gptge", "--base-url", emulator.base_url)
    assert reached.code == 0, reached.text
    assert "gpt.ge is reachable; only a paid job can show whether it accepts the key" in reached.out
    unreachable = await cli("doctor", "--provider", "gptge", "--base-url", f"http://127.0.0.1:{free_port()}")
    assert unreachable.code == 1
    assert "failed  gpt.ge: the connection is refused: nothing listens there" in unreachable.out


ANSWER = "HTTP/1.1 {}\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n"


async def test_doctor_describes_a_proxy_that_cannot_reach_the_port(cli: Cli) -> None:
    async with answering(ANSWER.format("502 Bad Gateway").encode()) as port:
        url = ("--callback-url", f"http://127.0.0.1:{port}/wm", "--callback-port", "0")
        finished = await cli("doctor", *url)
    assert finished.code == 1
    assert (
        "nginx answers HTTP 502: it cannot reach the port behind it\n        configure the proxy to forward to"
        in finished.out
    )


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (
            ANSWER.format("404 Not Found"),
            ProbeVerdict.WRONG_SERVER,
            "nginx answers HTTP 404, and it is not this receiver",
        ),
        (ANSWER.format("200 OK"), ProbeVerdict.WRONG_SERVER, "nginx answered HTTP 200, but nothing arrived here"),
        (ANSWER.format("503 Away"), ProbeVerdict.BAD_GATEWAY, "nginx answers HTTP 503"),
        (ANSWER.format("301 Moved"), ProbeVerdict.REDIRECTED, "a redirect"),
        ("nonsense\r\n\r\n", ProbeVerdict.DISCONNECTED, "the answer is not valid HTTP"),
        ("", ProbeVerdict.TIMED_OUT, "no answer within 0.3 s"),
    ],
)
async def test_the_probe_recognises_another_server_by_its_answer(
    answer: str, verdict: ProbeVerdict, words: str
) -> None:
    async with answering(answer.encode()) as port:
        result = await probe_callbacks(CallbackReceiver(f"http://127.0.0.1:{port}/wm"), timeout_seconds=0.3)
    assert result.verdict is verdict
    assert words in result.sentence


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("http://hooks.invalid/wm", ProbeVerdict.UNKNOWN_HOST),
        ("http://127.0.0.1:{free}/wm", ProbeVerdict.REFUSED),
        ("https://127.0.0.1:{port}/wm", ProbeVerdict.TLS_FAILED),
    ],
)
async def test_the_probe_says_why_a_url_cannot_be_reached(url: str, verdict: ProbeVerdict) -> None:
    receiver = CallbackReceiver("http://127.0.0.1/wm")
    async with CallbackServer(receiver, port=0) as server:
        receiver.public_url = url.format(free=free_port(), port=server.port)
        result = await probe_callbacks(receiver)
    assert result.verdict is verdict


async def test_the_probe_detects_a_proxy_that_changes_the_path_or_the_answer() -> None:
    receiver = CallbackReceiver("http://127.0.0.1/wm")
    async with CallbackServer(receiver, port=0) as server:
        changed = proxy(server.port, lambda head: re.sub(rb"/wm/\S+", b"/wm/", head), None)
        failing = proxy(server.port, lambda head: head, ANSWER.format("500 Oops").encode())
        for handler, words in ((changed, "came here with another path"), (failing, "the caller is told HTTP 500")):
            async with await asyncio.start_server(handler, "127.0.0.1", 0) as public:
                receiver.public_url = f"http://127.0.0.1:{public.sockets[0].getsockname()[1]}/wm"
                result = await probe_callbacks(receiver)
            assert result.verdict is ProbeVerdict.CHANGED
            assert words in result.sentence


def proxy(port: int, change: Callable[[bytes], bytes], answer: bytes | None) -> Callable[..., Awaitable[None]]:
    """Return a handler that forwards requests, changed, and returns the answer to them, or `answer` if given."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        upstream_writer.write(change(head) + body)
        response = await upstream_reader.readuntil(b"\r\n\r\n")
        writer.write(answer or response)
        await writer.drain()
        upstream_writer.close()
        writer.close()

    return forward


@pytest.mark.slow
async def test_the_demo_compares_polling_with_callbacks(cli: Cli, tmp_path: Path) -> None:
    finished = await cli("demo", "--callbacks", "--jobs", "4")
    assert finished.code == 0, finished.text
    rows = re.findall(
        r"^ +(gpt\.ge|PicWish) +(polling|callback) +2/2 +([\d.]+) +([\d.]+ m?s) ", finished.out, re.MULTILINE
    )
    assert [row[:2] for row in rows] == [
        (name, method) for name in ("gpt.ge", "PicWish") for method in ("polling", "callback")
    ]
    assert all(float(queries) == 1.0 for _, method, queries, _ in rows if method == "callback")
    assert "With callbacks a job is asked for 1.00 times instead of" in finished.out
    assert not os.listdir(tmp_path)  # noqa: PTH208 - the folder must be empty
