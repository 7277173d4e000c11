"""`remove --callback-url`, `doctor` and `demo --callbacks`, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiowatermark import CallbackReceiver, CallbackServer
from aiowatermark.callbacks.probe import ProbeVerdict, probe_callbacks
from aiowatermark.emulator import Emulator, pictures

if TYPE_CHECKING:
    from .conftest import Cli


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def callbacks(port: int) -> tuple[str, ...]:
    return ("--callback-url", f"http://127.0.0.1:{port}/wm", "--callback-port", str(port))


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    """Somebody who answers every request with the same; gives the port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if not answer:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_job_that_is_called_back_is_asked_for_once(cli: Cli, photos: list[str]) -> None:
    async with Emulator(restore=False, processing=1.0) as emulator:
        cli.has_keys_of(emulator)
        at = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        ended = await cli("remove", *photos, *at, *callbacks(free_port()))
        assert ended.code == 0, ended.text
        assert [task.queries for task in emulator.tasks] == [1, 1, 1]
        assert all(delivery.status == 200 for delivery in emulator.deliveries)


async def test_files_are_lent_to_those_who_take_links_only(cli: Cli, emulator: Emulator, tmp_path: Path) -> None:
    cli.has_keys_of(emulator)
    (tmp_path / "photo.jpg").write_bytes(pictures.sample_photo(400, 300))
    (tmp_path / "mask.png").write_bytes(pictures.sample_mask(400, 300))
    at = ("--provider", "photoeraser", "--base-url", emulator.base_url, "-o", "clean", "--mask", "mask.png")
    ended = await cli("remove", "photo.jpg", *at, *callbacks(free_port()))
    assert ended.code == 0, ended.text
    assert (tmp_path / "clean/photo-clean.jpg").read_bytes() == (tmp_path / "photo.jpg").read_bytes()


@pytest.mark.parametrize("command", ["remove", "resume"])
async def test_a_port_that_is_taken_is_one_clear_error(
    cli: Cli, at: list[str], photos: list[str], emulator: Emulator, command: str
) -> None:
    async with answering(b"") as port:
        ended = await cli(command, "one.jpg", *at, "--provider", "gptge", *callbacks(port))
    assert ended.code == 2
    assert f"port {port} of 127.0.0.1 is taken by another program" in ended.err
    assert not ended.out
    assert not emulator.tasks


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--provider", "gptge", "--callback-url", "hooks.example"), 2, "like https://hooks.example.com/wm"),
        (("--provider", "gptge", "--callback-port", "8080"), 2, "give that, too"),
        (("--provider", "kaze", "--callback-url", "http://127.0.0.1/wm"), 0, "Kaze calls nobody back"),
    ],
)
async def test_what_callbacks_need_is_said(  # noqa: PLR0917 - fixtures
    cli: Cli, at: list[str], photos: list[str], arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    ended = await cli("remove", "one.jpg", *at, *arguments)
    assert ended.code == code, ended.text
    assert sentence in " ".join(ended.err.split())


async def test_a_healthy_machine_is_told_so_and_no_key_is_shown(cli: Cli, emulator: Emulator, tmp_path: Path) -> None:
    cli.has_keys_of(emulator)
    given = ("--provider", "kaze", "--base-url", emulator.base_url, "--store", "new.db", *callbacks(free_port()))
    ended = await cli("doctor", *given)
    assert ended.code == 0, ended.text
    assert "ok      Kaze takes the key: 1000 credits available" in ended.out
    assert "leads here: exactly the delivery that was sent arrived" in ended.out
    assert "the store new.db opens and can be written, a new file" in ended.out
    assert "All is well." in ended.out
    assert "canary" not in ended.text
    assert not os.listdir(tmp_path)  # noqa: PTH208 - nothing is to be there


async def test_what_is_missing_comes_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("text")
    ended = await cli("doctor", "--provider", "picwish", "--store", "text.db")
    assert ended.code == 1
    assert "failed  PicWish: PICWISH_API_KEY not set\n        put your PicWish key" in ended.out
    assert "text.db is no store of aiowatermark" in ended.out
    assert "2 failed" in ended.out
    assert (tmp_path / "text.db").read_text() == "text"


async def test_a_provider_that_is_not_there_or_takes_no_such_key_is_told_apart(cli: Cli, emulator: Emulator) -> None:
    cli.env |= {"KAZE_API_KEY": "wrong", "GPTGE_API_KEY": "any"}
    refused = await cli("doctor", "--provider", "kaze", "--base-url", emulator.base_url)
    assert refused.code == 1
    assert "failed  Kaze: " in refused.out
    reached = await cli("doctor", "--provider", "gptge", "--base-url", emulator.base_url)
    assert reached.code == 0, reached.text
    assert "gpt.ge answers; whether it takes the key, only a job can show" in reached.out
    away = await cli("doctor", "--provider", "gptge", "--base-url", f"http://127.0.0.1:{free_port()}")
    assert away.code == 1
    assert "failed  gpt.ge: the connection is refused: nothing listens there" in away.out


ANSWER = "HTTP/1.1 {}\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n"


async def test_whoever_answers_instead_is_described_with_what_to_do(cli: Cli) -> None:
    async with answering(ANSWER.format("502 Bad Gateway").encode()) as port:
        url = ("--callback-url", f"http://127.0.0.1:{port}/wm", "--callback-port", "0")
        ended = await cli("doctor", *url)
    assert ended.code == 1
    assert "nginx answers HTTP 502: it cannot reach the port behind it\n        have the proxy lead to" in ended.out


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (ANSWER.format("404 Not Found"), ProbeVerdict.ELSEWHERE, "nginx answers HTTP 404, and it is not this receiver"),
        (ANSWER.format("200 OK"), ProbeVerdict.ELSEWHERE, "nginx answered HTTP 200, but nothing arrived here"),
        (ANSWER.format("503 Away"), ProbeVerdict.GATEWAY, "nginx answers HTTP 503"),
        (ANSWER.format("301 Moved"), ProbeVerdict.REDIRECTED, "a redirect"),
        ("nonsense\r\n\r\n", ProbeVerdict.BROKEN, "the connection broke before an answer came"),
        ("", ProbeVerdict.SILENT, "no answer within 0.3 s"),
    ],
)
async def test_whoever_answers_instead_is_told_apart(answer: str, verdict: ProbeVerdict, words: str) -> None:
    async with answering(answer.encode()) as port:
        found = await probe_callbacks(CallbackReceiver(f"http://127.0.0.1:{port}/wm"), patience=0.3)
    assert found.verdict is verdict
    assert words in found.sentence


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("http://hooks.invalid/wm", ProbeVerdict.NO_NAME),
        ("http://127.0.0.1:{free}/wm", ProbeVerdict.REFUSED),
        ("https://127.0.0.1:{port}/wm", ProbeVerdict.NO_TLS),
    ],
)
async def test_a_url_that_leads_nowhere_is_told_apart(url: str, verdict: ProbeVerdict) -> None:
    receiver = CallbackReceiver("http://127.0.0.1/wm")
    async with CallbackServer(receiver, port=0) as server:
        receiver.public_url = url.format(free=free_port(), port=server.port)
        found = await probe_callbacks(receiver)
    assert found.verdict is verdict


async def test_a_proxy_that_changes_the_path_or_the_answer_is_found_out() -> None:
    receiver = CallbackReceiver("http://127.0.0.1/wm")
    async with CallbackServer(receiver, port=0) as server:
        changed = proxy(server.port, lambda head: re.sub(rb"/wm/\S+", b"/wm/", head), None)
        failing = proxy(server.port, lambda head: head, ANSWER.format("500 Oops").encode())
        for talk, words in ((changed, "came here with another path"), (failing, "whoever called is told HTTP 500")):
            async with await asyncio.start_server(talk, "127.0.0.1", 0) as outside:
                receiver.public_url = f"http://127.0.0.1:{outside.sockets[0].getsockname()[1]}/wm"
                found = await probe_callbacks(receiver)
            assert found.verdict is ProbeVerdict.CHANGED
            assert words in found.sentence


def proxy(port: int, change: Callable[[bytes], bytes], answer: bytes | None) -> Callable[..., Awaitable[None]]:
    """Passes requests on, changed, and answers with what came back, or with something else."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        back.write(change(head) + body)
        said = await there.readuntil(b"\r\n\r\n")
        writer.write(answer or said)
        await writer.drain()
        back.close()
        writer.close()

    return pass_on


async def test_both_ways_are_shown_side_by_side(cli: Cli, tmp_path: Path) -> None:
    ended = await cli("demo", "--callbacks", "--jobs", "4")
    assert ended.code == 0, ended.text
    rows = re.findall(
        r"^ +(gpt\.ge|PicWish) +(polling|callback) +2/2 +([\d.]+) +([\d.]+ m?s) ", ended.out, re.MULTILINE
    )
    assert [row[:2] for row in rows] == [
        (name, way) for name in ("gpt.ge", "PicWish") for way in ("polling", "callback")
    ]
    assert all(float(queries) == 1.0 for _, way, queries, _ in rows if way == "callback")
    assert "With callbacks a job is asked for 1.00 times instead of" in ended.out
    assert not os.listdir(tmp_path)  # noqa: PTH208 - nothing is to be there
