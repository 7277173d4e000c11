"""The command line on a terminal: one bar and at most eight rows, whatever its width; what goes on; Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import pytest
from PIL import Image

from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli
from tests.support.http_server import free_port
from tests.support.images import make_jpeg
from tests.support.terminal import TerminalSession, rows_of
from tests.support.waiting import wait_until

COUNT = 12
Start: TypeAlias = Callable[..., Awaitable[TerminalSession]]


@pytest.fixture
async def start(cli: Cli) -> AsyncIterator[Start]:
    """Starts `aiowatermark` on a terminal: `await start(*arguments, columns=80)`; it is killed at the end."""
    started: list[TerminalSession] = []

    async def start_session(*arguments: str, columns: int = 80, **variables: str) -> TerminalSession:
        started.append(
            await TerminalSession.start(
                *arguments, columns=columns, folder=cli.folder, variables={**cli.env, **variables}
            )
        )
        return started[-1]

    yield start_session
    for session in started:
        await session.close()


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    names = [f"a-picture-with-a-long-name-from-the-holidays-in-2026-{index:02}.jpg" for index in range(COUNT)]
    for index, name in enumerate(names):
        (tmp_path / name).write_bytes(make_jpeg(padding=index + 1))
    return names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "inherited"),
    [(40, {}), (80, {}), (200, {}), (60, {"COLUMNS": "20", "LINES": "5"}), (60, {"COLUMNS": "200", "LINES": "5"})],
    ids=["40", "80", "200", "less was inherited", "more was inherited"],
)
async def test_the_display_is_one_bar_and_eight_rows_that_fit_the_terminal(
    start: Start, cli: Cli, photos: list[str], columns: int, inherited: dict[str, str]
) -> None:
    async with Emulator(restore=False, processing=3.0) as emulator:
        cli.use_keys_of(emulator)
        to_emulator = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        session = await start("remove", *photos, *to_emulator, columns=columns, **inherited)
        shown = await session.wait_for("running", f"0/{COUNT}", "and 4 more")
        assert len(rows_of(shown)) == 8
        assert all(f"2026-{index:02}.jpg" in shown for index in range(8)), "names end differently"
        assert len(shown.splitlines()) == 11, "the line of the plan, eight rows, those that are hidden, and the bar"
        assert session.screen.widest <= columns
        ended = await session.finish()
        assert session.screen.widest <= columns, "the summary is broken at words"
        text = rf"{COUNT} new at gpt.ge {COUNT} done, 0 failed in \d+\.\d s; results are in clean"
        assert re.fullmatch(text, ended.replace("\n", " "))


@pytest.mark.slow
async def test_with_no_color_there_are_no_colors(start: Start, cli: Cli, photos: list[str], emulator: Emulator) -> None:
    cli.use_keys_of(emulator)
    command = ("remove", photos[0], "none.jpg", "--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
    colored = await start(*command)
    await colored.finish()
    assert colored.screen.colors
    plain = await start(*command, NO_COLOR="1")
    await plain.finish()
    assert not plain.screen.colors


@pytest.mark.slow
async def test_json_lines_on_a_terminal_are_whole(
    start: Start, cli: Cli, photos: list[str], emulator: Emulator
) -> None:
    cli.use_keys_of(emulator)
    command = ("remove", *photos, "--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean", "--json")
    session = await start(*command, columns=2000)
    lines = [line for line in (await session.finish()).splitlines() if line.startswith("{")]
    assert sorted(json.loads(line)["media"] for line in lines) == photos
    assert "━" not in session.screen.text


@pytest.mark.slow
async def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    start: Start, cli: Cli, photos: list[str], emulator: Emulator
) -> None:
    cli.use_keys_of(emulator)
    command = ("remove", photos[0], "--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
    session = await start(*command, TERM="dumb", columns=40)
    line = f"1 new at gpt.gedone  {photos[0]} -> clean/"
    assert (await session.finish()).replace("\n", "").startswith(line)
    assert session.screen.widest > len(f"done  {photos[0]} -> clean/"), "its lines are not broken"


@pytest.mark.slow
async def test_ctrl_c_is_said_in_one_line_and_a_second_one_ends_at_once(
    start: Start, cli: Cli, photos: list[str]
) -> None:
    async with Emulator(restore=False, processing=60.0) as emulator:
        cli.use_keys_of(emulator)
        emulator.inject(Fault.stalled(60.0, after_work=True), "gptge", "submit")
        to_emulator = ("--provider", "gptge", "--base-url", emulator.base_url, "-o", "clean")
        session = await start("remove", *photos, *to_emulator, "--jobs", "1")
        await wait_until(lambda: emulator.tasks)
        session.process.send_signal(signal.SIGINT)
        await session.wait_for("Stopping: waiting up to 20 s")
        session.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(15):  # the answer to what was sent would be awaited for 20 s
            ended = await session.finish()
        assert f"Stopped: 0 done, 1 open, {COUNT - 1} unsent; the same command continues" in ended
        assert "Traceback" not in ended


@pytest.mark.slow
async def test_a_rate_that_limits_and_a_provider_that_is_not_reachable_are_said(
    start: Start, cli: Cli, photos: list[str], emulator: Emulator
) -> None:
    cli.use_keys_of(emulator)
    nobody = ("--base-url", f"http://127.0.0.1:{free_port()}", "-o", "clean")
    session = await start("remove", *photos, "--provider", "picwish", *nobody, columns=120)
    shown = await session.wait_for("PicWish: 2 requests per second", "PicWish: not reachable, next try in")
    assert "submitting" in shown
    lines = await cli.start("remove", *photos, "--provider", "picwish", *nobody[:2], "-o", "other")
    said = await lines.wait_for_output("not reachable")
    assert said.splitlines()[:2] == [f"{COUNT} new at PicWish", "PicWish: 2 requests per second"]
    assert "PicWish: not reachable, next try in 1 s" in said


@pytest.mark.slow
async def test_a_query_that_fails_and_a_picture_that_may_disappoint_are_said(
    cli: Cli, to_emulator: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    (tmp_path / "animated.gif").write_bytes(make_animation())
    emulator.inject(Fault.status(500), "gptge", "query")
    finished = await cli("remove", "animated.gif", *to_emulator, "--provider", "gptge", "--option", "sync=false")
    assert "Warning: animated.gif is animated: one frame comes back" in finished.out
    assert "gpt.ge: a query failed and is repeated: " in finished.out


def make_animation() -> bytes:
    data = BytesIO()
    frames = [Image.new("RGB", (300, 300), (shade, 0, 0)) for shade in (0, 255)]
    frames[0].save(data, "gif", save_all=True, append_images=frames[1:])
    return data.getvalue()
