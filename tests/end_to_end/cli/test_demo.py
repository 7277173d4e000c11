"""`aiowatermark demo` and `aiowatermark emulator`, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from aiowatermark import provider_names
from aiowatermark.emulator.pictures import sample_photo

if TYPE_CHECKING:
    from .conftest import Cli


async def test_twenty_marked_photographs_come_back_clean_over_all_five_apis(cli: Cli, tmp_path: Path) -> None:
    ended = await cli("demo")
    assert ended.code == 0, ended.text
    folder = tmp_path / "aiowatermark-demo"
    for side in ("before", "after"):
        files = sorted(path.name for path in folder.glob(f"*-{side}.jpg"))
        assert len(files) == 20
        assert {name.split("-")[1] for name in files} == set(provider_names())
    assert cv2.imread(str(folder / "overview.png")) is not None
    rows = re.findall(r"^ +(\S.*?)  +(\d+)/(\d+) +(\d+) +([\d.]+) dB +([\d.]+) dB *$", ended.out, re.MULTILINE)
    assert [row[1:4] for row in rows] == [("4", "4", "4")] * 5 + [("20", "20", "20")]
    assert all(float(after) > float(before) + 8 for *_, before, after in rows)
    assert "20 of 20 restored in" in ended.out
    assert "\x1b" not in ended.text


async def test_the_demo_takes_photographs_of_any_kind_and_says_who_is_not_given_which(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(sample_photo(1800, 1200, seed=3, format="png"))
    (tmp_path / "small.jpg").write_bytes(sample_photo(240, 180, seed=4))
    (tmp_path / "grey.bmp").write_bytes(cv2.imencode(".bmp", np.full((300, 400), 90, np.uint8))[1].tobytes())
    ended = await cli("demo", "large.png", "small.jpg", "grey.bmp", "--jobs", "10", "-o", "shown")
    assert ended.code == 0, ended.text
    assert "Photo Eraser is not given small.jpg: it has 240x180 pixels" in ended.err
    assert "10 of 10 restored" in ended.out
    assert list((tmp_path / "shown").glob("*-after.png"))


@pytest.mark.parametrize(
    ("name", "sentence"), [("none.jpg", "none.jpg cannot be read"), ("text.jpg", "text.jpg is no picture")]
)
async def test_a_bad_photograph_is_one_clear_error(cli: Cli, tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "text.jpg").write_text("text")
    ended = await cli("demo", name)
    assert ended.code == 2
    assert sentence in ended.err
    assert "Traceback" not in ended.text


async def test_ctrl_c_ends_the_demo_with_one_sentence(cli: Cli) -> None:
    running = await cli.start("demo")
    await running.says("done")
    running.process.send_signal(signal.SIGINT)
    ended = await running.ended()
    assert ended.code == 1
    assert ended.out.endswith("Stopped. Nothing was paid: the providers were emulated.\n")
    assert not ended.err


async def test_on_a_terminal_there_is_a_bar_and_the_screen_is_left_clean(cli: Cli, tmp_path: Path) -> None:
    text = await asyncio.to_thread(_on_a_terminal, tmp_path, cli.root)
    assert "━" in text
    assert "\x1b[?25h" in text.rpartition("\x1b[?25l")[2]
    assert "5 of 5 restored" in text
    assert "done    01" not in text


def _on_a_terminal(folder: Path, root: Path) -> str:
    """What a terminal is sent."""
    command = [sys.executable, "-m", "aiowatermark", "demo", "--jobs", "5", "-o", str(folder)]
    mine, theirs = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(root), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env):
        os.close(theirs)
        said = bytearray()
        with contextlib.suppress(OSError):  # Linux says so when the other side is closed
            while block := os.read(mine, 1 << 16):
                said += block
        os.close(mine)
    return said.decode()


async def test_the_emulator_prints_lines_that_work_when_pasted(
    cli: Cli, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    (tmp_path / "photo.jpg").write_bytes(sample_photo(200, 160))
    running = await cli.start("emulator", "--processing", "0", "--keys", "photoeraser=app:secret")
    text = await running.says("Ctrl-C ends it")
    cli.env |= dict(re.findall(r"export (\w+)=(\S+)", text))
    assert cli.env["PHOTOERASER_APP_SECRET"] == "secret"
    base_url = re.search(r"http://127\.0\.0\.1:\d+", text)
    assert base_url
    arguments = ("--provider", "dewatermark", "--base-url", base_url[0])
    removed = await cli("remove", "photo.jpg", "-o", "clean", *arguments)
    assert removed.code == 0, removed.text
    running.process.send_signal(signal.SIGINT)
    ended = await running.ended()
    assert ended.code == 0
    assert "Charged, had it been real: Dewatermark 1." in ended.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--host", "0.0.0.0"), "is not this machine's own"),  # noqa: S104 - refused
        (("--host", "example.com"), "is not this machine's own"),
        (("--keys", "picwish"), "write NAME=KEY"),
        (("--keys", "photoeraser=app"), "photoeraser=APP_KEY:APP_SECRET"),
        (("--keys", "nobody=key"), "No such provider: nobody"),
        (("--mark", "none.png"), "'none.png' does not exist"),
    ],
)
async def test_an_emulator_that_cannot_be_starts_nothing(cli: Cli, arguments: tuple[str, ...], sentence: str) -> None:
    ended = await cli("emulator", *arguments)
    assert ended.code == 2
    assert sentence in " ".join(ended.err.split())


async def test_a_port_that_is_taken_is_named(cli: Cli) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        ended = await cli("emulator", "--port", str(port))
    assert ended.code == 2
    assert f"port {port}" in ended.err
    assert "Traceback" not in ended.text
