"""The command emulator, and --base-url and AIOWATERMARK_BASE_URL, which lead the other commands to it."""

from __future__ import annotations

import asyncio
import inspect
import re
import signal
from pathlib import Path

import pytest

from aiowatermark.cli.options.emulator_state import FAULTS
from aiowatermark.emulator.controls import EmulatedProvider
from aiowatermark.emulator.pictures import sample_photo
from tests.support.cli import Cli
from tests.support.http_server import free_port
from tests.support.images import make_jpeg
from tests.support.processes import Running


def exports_in(text: str) -> dict[str, str]:
    """Return the variables in the lines to paste."""
    return dict(re.findall(r"export (\w+)=(\S+)", text))


async def stop(running: Running) -> str:
    """Press Ctrl-C and return what was printed since."""
    running.process.send_signal(signal.SIGINT)
    finished = await running.finish()
    assert finished.code == 0, finished.text
    assert not finished.err
    return finished.out


async def test_the_lines_that_the_emulator_prints_work_when_pasted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(sample_photo(200, 160))
    running = await cli.start("emulator", "--processing", "0", "--keys", "photoeraser=app:secret")
    text = await running.wait_for_output("Press Ctrl-C to stop")
    cli.env |= exports_in(text)
    assert cli.env["PHOTOERASER_APP_SECRET"] == "secret"
    remove = await cli("remove", "photo.jpg", "-o", "clean", "--provider", "dewatermark")
    assert remove.code == 0, remove.text
    assert f"Note: requests go to {cli.env['AIOWATERMARK_BASE_URL']} (AIOWATERMARK_BASE_URL)" in remove.err
    printed = await stop(running)
    assert "The real providers would have charged for: Dewatermark 1." in printed


async def test_the_emulator_prints_a_line_for_each_request(cli: Cli, photos: list[str]) -> None:
    running = await cli.start("emulator", "--processing", "0")
    cli.env |= exports_in(await running.wait_for_output("Press Ctrl-C to stop"))
    assert (await cli("remove", "one.jpg", "-o", "clean", "--provider", "gptge")).code == 0
    submit, query, download, empty, stopped = (await stop(running)).strip().splitlines()
    form = r"(\w+) +(/\S+)  200  job (\S+?)(  charge \d)?  \d+ ms"
    (submitted, queried, downloaded) = (re.fullmatch(form, line) for line in (submit, query, download))
    assert submitted
    assert queried
    assert downloaded
    assert submitted.group(1, 2, 4) == ("POST", "/task/pic/watermark_auto", "  charge 1")
    assert queried.groups() == ("GET", f"/task/{submitted[3]}", submitted[3], None)
    assert downloaded.group(1, 3, 4) == ("GET", "-", None)
    assert not empty
    assert stopped.startswith("Stopped. ")


async def test_a_quiet_emulator_prints_no_requests(cli: Cli) -> None:
    running = await cli.start("emulator", "--quiet")
    cli.env |= exports_in(await running.wait_for_output("Press Ctrl-C to stop"))
    assert (await cli("credits", "--provider", "kaze")).code == 0
    assert (await stop(running)).strip().startswith("Stopped. ")


async def test_the_keys_of_the_emulator_are_the_same_at_every_start(cli: Cli) -> None:
    port = str(free_port())
    texts = []
    for _ in range(2):
        running = await cli.start("emulator", "--port", port)
        texts.append(await running.wait_for_output("Press Ctrl-C to stop"))
        await stop(running)
    assert texts[0] == texts[1]
    keys = {name: value for name, value in exports_in(texts[0]).items() if name != "AIOWATERMARK_BASE_URL"}
    assert len(set(keys.values())) == len(keys) == 6


async def test_requests_are_served_when_nobody_reads_the_lines_any_more(cli: Cli) -> None:
    running = await cli.start("emulator")
    cli.env |= exports_in(await running.wait_for_output("Press Ctrl-C to stop"))
    running.process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    for _ in range(3):
        finished = await cli("credits", "--provider", "kaze")
        assert finished.code == 0, finished.text


@pytest.mark.parametrize("command", [("credits",), ("remove", "photo.jpg", "-o", "clean"), ("doctor",)])
async def test_an_address_that_is_not_valid_is_shown_with_the_option_or_the_variable_that_it_came_from(
    cli: Cli, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(make_jpeg())
    cli.env |= {"KAZE_API_KEY": "any"}
    problem = "must be an absolute URL such as https://backend.kaze.ai or http://127.0.0.1:8700, not 'foo:8080'"
    finished = await cli(*command, "--provider", "kaze", "--base-url", "foo:8080")
    assert (finished.code, finished.out, finished.err) == (2, "", f"Error: --base-url {problem}\n")
    cli.env["AIOWATERMARK_BASE_URL"] = "foo:8080"
    finished = await cli(*command, "--provider", "kaze")
    assert f"AIOWATERMARK_BASE_URL {problem}\n" in finished.text
    assert finished.code == (1 if command == ("doctor",) else 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demo",), "--base-url has no use here: the demo starts an emulator of its own"),
        (("emulator",), "--base-url has no use here: the emulator is what other commands send requests to"),
        (("jobs", "settle", "key", "--paid", "--store", "store.db"), "--base-url has no use without --task-id"),
    ],
)
async def test_a_base_url_is_refused_where_it_has_no_use(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "store.db").touch()
    finished = await cli(*arguments, "--base-url", "http://127.0.0.1:8700")
    assert finished.code == 2
    assert message in " ".join(finished.err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "0.0.0.0"), "must be a loopback address"),  # noqa: S104 - refused
        (("--host", "example.com"), "must be a loopback address"),
        (("--keys", "picwish"), "must be NAME=KEY"),
        (("--keys", "photoeraser=app"), "photoeraser=APP_KEY:APP_SECRET"),
        (("--keys", "unknown=key"), "No such provider: unknown"),
        (("--keys", "kaze=a", "--keys", "kaze=b"), "kaze is given twice: each API of the emulator has one key"),
        (("--fault", "kaze"), "must be NAME:FAULT, such as kaze:drop_answer, not 'kaze'"),
        (("--mark", "none.png"), "'none.png' does not exist"),
        (("--mark", "photo.jpg"), "--mark photo.jpg: The mark has no alpha channel: give the logo as a PNG with"),
        (("--mark", "text.png"), "--mark text.png: This is not an image"),
    ],
)
async def test_emulator_options_that_are_not_valid_start_nothing(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "photo.jpg").write_bytes(sample_photo())
    (tmp_path / "text.png").write_text("text")
    finished = await cli("emulator", *arguments)
    assert finished.code == 2
    assert message in " ".join(finished.err.split())


async def test_a_port_that_is_in_use_is_named_in_the_error(cli: Cli) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        finished = await cli("emulator", "--port", str(port))
    assert finished.code == 2
    assert f"port {port}" in finished.err
    assert "Traceback" not in finished.text


async def test_the_emulator_prints_the_callbacks_that_it_sends_without_their_keys(cli: Cli, photos: list[str]) -> None:
    running = await cli.start("emulator", "--processing", "0")
    cli.env |= exports_in(await running.wait_for_output("Press Ctrl-C to stop"))
    port = str(free_port())
    callbacks = ("--callback-url", f"http://127.0.0.1:{port}/wm", "--callback-port", port)
    finished = await cli("remove", "one.jpg", "-o", "clean", "--provider", "gptge", *callbacks)
    assert finished.code == 0, finished.text
    printed = await running.wait_for_output("CALLBACK")
    assert re.search(r"CALLBACK  /wm/…  200  job \S+", printed)
    await stop(running)


async def test_an_emulator_without_credits_and_with_a_fault_refuses_and_fails_as_providers_do(
    cli: Cli, photos: list[str]
) -> None:
    running = await cli.start("emulator", "--processing", "0", "--credits", "0")
    cli.env |= exports_in(await running.wait_for_output("Press Ctrl-C to stop"))
    finished = await cli("remove", "one.jpg", "-o", "clean", "--provider", "gptge")
    assert "No credits left at gpt.ge" in finished.out
    await stop(running)
    running = await cli.start("emulator", "--processing", "0", "--fault", "gptge:drop_answer")
    cli.env |= exports_in(await running.wait_for_output("Press Ctrl-C to stop"))
    finished = await cli("remove", "one.jpg", "two.JPEG", "-o", "clean", "--provider", "gptge")
    assert "1 done, 0 failed, 1 in doubt" in finished.out
    await stop(running)


@pytest.mark.parametrize(
    ("value", "text"),
    [("kazee:drop_answer", "Did you mean kaze?"), ("kaze:drop_anser", "Did you mean drop_answer?")],
)
async def test_a_fault_that_is_unknown_is_refused_with_the_nearest_name(cli: Cli, value: str, text: str) -> None:
    finished = await cli("emulator", "--fault", value)
    assert finished.code == 2
    assert text in " ".join(finished.err.split())


def test_the_faults_of_the_command_line_are_those_of_the_control_surface() -> None:
    for name in FAULTS:
        parameters = inspect.signature(getattr(EmulatedProvider, name)).parameters.values()
        assert all(each.default is not each.empty for each in list(parameters)[1:]), "each works without an argument"
