"""The command demo."""

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
from tests.support.processes import environment


@pytest.mark.slow
async def test_the_demo_restores_twenty_photos_through_all_five_apis(cli: Cli, tmp_path: Path) -> None:
    finished = await cli("demo")
    assert finished.code == 0, finished.text
    folder = tmp_path / "aiowatermark-demo"
    for side in ("before", "after"):
        files = sorted(path.name for path in folder.glob(f"*-{side}.jpg"))
        assert len(files) == 20
        assert {name.split("-")[1] for name in files} == set(provider_names())
    page = (folder / "index.html").read_text()
    assert page.count('<figure class="picture compare">') == 20
    assert "20 credits charged" in page
    assert not re.search(r"https?://", page)
    rows = re.findall(r"^ +(\S.*?)  +(\d+)/(\d+) +(\d+) +([\d.]+) dB +([\d.]+) dB *$", finished.out, re.MULTILINE)
    assert [row[1:4] for row in rows] == [("4", "4", "4")] * 5 + [("20", "20", "20")]
    assert all(float(after) > float(before) + 8 for *_, before, after in rows)
    assert "20 of 20 restored in" in finished.out
    assert "PSNR: closeness to the photo without a mark" in finished.out
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
    assert "Left out: Photo Eraser is not given small.jpg: it has 240x180 pixels" in finished.err
    assert "10 of 10 restored" in finished.out
    assert list((tmp_path / "shown").glob("*-after.png"))


@pytest.mark.slow
async def test_each_run_has_a_folder_of_its_own_and_overwrites_nothing(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (await cli("demo", "--jobs", "1", "-o", "empty")).code == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "empty").iterdir()}
    assert len(first) == 3
    finished = await cli("demo", "--jobs", "1", "-o", "empty", "--seed", "2")
    assert finished.code == 0, finished.text
    assert "empty-2/index.html" in finished.out
    assert {path.name: path.read_bytes() for path in (tmp_path / "empty").iterdir()} == first
    assert len(list((tmp_path / "empty-2").iterdir())) == 3


@pytest.mark.slow
async def test_the_demo_names_what_it_leaves_out(cli: Cli, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(sample_photo(400, 300))
    finished = await cli("demo", "a.jpg", "b.jpg", "c.jpg", "--jobs", "2", "--report", "out/page.html")
    assert finished.code == 0, finished.text
    left_out = [
        "Left out: Kaze and Photo Eraser and PicWish: no job; --jobs 5 or more gives each provider one.",
        "Left out: 1 of 3 photos are in no job (c.jpg): give more --jobs.",
    ]
    assert finished.err.splitlines() == left_out
    page = (tmp_path / "out/page.html").read_text()
    assert all(each in page for each in left_out)
    assert not (tmp_path / "aiowatermark-demo/index.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
async def test_the_comparison_of_callbacks_does_as_many_jobs_as_were_asked_for_and_names_what_it_leaves_out(
    cli: Cli, tmp_path: Path, jobs: int
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(sample_photo(400, 300))
    finished = await cli("demo", "a.jpg", "b.jpg", "c.jpg", "--callbacks", "--jobs", str(jobs))
    assert finished.code == 0, finished.text
    assert finished.out.startswith(f"{jobs} job")
    assert len(re.findall("^done .*callback$", finished.out, re.MULTILINE)) == jobs
    assert len(re.findall("^done .*polling$", finished.out, re.MULTILINE)) == jobs
    assert ("Left out: PicWish: no job" in finished.out) == (jobs == 1)
    assert f"Left out: {1 if jobs == 3 else 2} of 3 photos are in no job" in finished.out


async def test_a_report_that_cannot_be_written_is_refused_before_the_demo_starts(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("<html>")
    finished = await cli("demo", "--report", "mine.html")
    assert finished.code == 2
    assert "mine.html exists and is not a report" in finished.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]


@pytest.mark.parametrize("option", ["--report", "-o"])
async def test_the_comparison_of_callbacks_keeps_no_images(cli: Cli, option: str) -> None:
    finished = await cli("demo", "--callbacks", option, "out")
    assert finished.code == 2
    assert "-o, --report have no use" in finished.err


@pytest.mark.parametrize(
    ("name", "message"), [("none.jpg", "none.jpg cannot be read"), ("text.jpg", "text.jpg is not a readable image")]
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
    await running.wait_for_output("restored")
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
    assert "restored  01" not in text


def _run_on_terminal(folder: Path) -> str:
    """Run the demo on a pseudo-terminal and return what it writes there."""
    command = [sys.executable, "-m", "aiowatermark", "demo", "--jobs", "5", "-o", str(folder)]
    controller, terminal = pty.openpty()
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment(TERM="xterm")):
        os.close(terminal)
        output = bytearray()
        with contextlib.suppress(OSError):  # Linux raises it when the process has closed the terminal
            while block := os.read(controller, 1 << 16):
                output += block
        os.close(controller)
    return output.decode()
