"""The commands demo and emulator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from aiowatermark import provider_names
from aiowatermark.emulator.pictures import sample_photo
from tests.support.cli import Cli
from tests.support.processes import ROOT


@pytest.mark.slow
async def test_the_demo_restores_twenty_photos_through_all_five_apis(cli: Cli, tmp_path: Path) -> None:
    finished = await cli("demo")
    assert finished.code == 0, finished.text
    folder = tmp_path / "aiowatermark-demo"
    for side in ("before", "after"):
        files = sorted(path.name for path in folder.glob(f"*-{side}.jpg"))
        assert len(files) == 20
        assert {name.split("-")[1] for name in files} == set(provider_names())
    assert cv2.imread(str(folder / "overview.png")) is not None
    rows = re.findall(r"^ +(\S.*?)  +(\d+)/(\d+) +(\d+) +([\d.]+) dB +([\d.]+) dB *$", finished.out, re.MULTILINE)
    assert [row[1:4] for row in rows] == [("4", "4", "4")] * 5 + [("20", "20", "20")]
    assert all(float(after) > float(before) + 8 for *_, before, after in rows)
    assert "20 of 20 restored in" in finished.out
    assert "\x1b" not in finished.text


@pytest.mark.slow
async def test_the_demo_accepts_photos_of_any_kind_and_notes_those_that_a_provider_does_not_accept(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "large.png").write_bytes(sample_photo(1800, 1200, seed=3, format="png"))
    (tmp_path / "small.jpg").write_bytes(sample_photo(240, 180, seed=4))
    (tmp_path / "grey.bmp").write_bytes(cv2.imencode(".bmp", np.full((300, 400), 90, np.uint8))[1].tobytes())
    finished = await cli("demo", "large.png", "small.jpg", "grey.bmp", "--jobs", "10", "-o", "shown")
    assert finished.code == 0, finished.text
    assert "Photo Eraser is not given small.jpg: it has 240x180 pixels" in finished.err
    assert "10 of 10 restored" in finished.out
    assert list((tmp_path / "shown").glob("*-after.png"))


@pytest.mark.parametrize(
    ("name", "message"), [("none.jpg", "none.jpg cannot be read"), ("text.jpg", "text.jpg is no picture")]
)
async def test_a_photo_that_cannot_be_read_is_one_clear_error(
    cli: Cli, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "text.jpg").write_text("text")
    finished = await cli("demo", name)
    assert finished.code == 2
    assert message in finished.err
    assert "Traceback" not in finished.text


@pytest.mark.slow
async def test_ctrl_c_ends_the_demo_with_one_message(cli: Cli) -> None:
    running = await cli.start("demo")
    await running.wait_for_output("done")
    running.process.send_signal(signal.SIGINT)
    finished = await running.finish()
    assert finished.code == 1
    assert finished.out.endswith("Stopped. Nothing was paid: the providers were emulated.\n")
    assert not finished.err


@pytest.mark.slow
async def test_the_demo_shows_a_bar_on_a_terminal_and_erases_it(tmp_path: Path) -> None:
    text = await asyncio.to_thread(_run_on_terminal, tmp_path)
    assert "━" in text
    assert "\x1b[?25h" in text.rpartition("\x1b[?25l")[2]
    assert "5 of 5 restored" in text
    assert "done    01" not in text


def _run_on_terminal(folder: Path) -> str:
    """Run the demo on a pseudo-terminal and return what it writes there."""
    command = [sys.executable, "-m", "aiowatermark", "demo", "--jobs", "5", "-o", str(folder)]
    controller, terminal = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=env):
        os.close(terminal)
        output = bytearray()
        with contextlib.suppress(OSError):  # Linux raises it when the process has closed the terminal
            while block := os.read(controller, 1 << 16):
                output += block
        os.close(controller)
    return output.decode()


async def test_the_lines_that_the_emulator_prints_work_when_pasted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(sample_photo(200, 160))
    running = await cli.start("emulator", "--processing", "0", "--keys", "photoeraser=app:secret")
    text = await running.wait_for_output("Press Ctrl-C to stop")
    cli.env |= dict(re.findall(r"export (\w+)=(\S+)", text))
    assert cli.env["PHOTOERASER_APP_SECRET"] == "secret"
    base_url = re.search(r"http://127\.0\.0\.1:\d+", text)
    assert base_url
    arguments = ("--provider", "dewatermark", "--base-url", base_url[0])
    remove = await cli("remove", "photo.jpg", "-o", "clean", *arguments)
    assert remove.code == 0, remove.text
    running.process.send_signal(signal.SIGINT)
    finished = await running.finish()
    assert finished.code == 0
    assert "The real providers would have charged for: Dewatermark 1." in finished.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "0.0.0.0"), "must be a loopback address"),  # noqa: S104 - refused
        (("--host", "example.com"), "must be a loopback address"),
        (("--keys", "picwish"), "must be NAME=KEY"),
        (("--keys", "photoeraser=app"), "photoeraser=APP_KEY:APP_SECRET"),
        (("--keys", "unknown=key"), "No such provider: unknown"),
        (("--mark", "none.png"), "'none.png' does not exist"),
    ],
)
async def test_emulator_options_that_are_not_valid_start_nothing(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
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
