"""The terminal sessions in docs/command-line.md are those that the command line shows.

The sessions are run against the emulator, in a terminal of the width that the document names. To write them anew:

    UPDATE_DOCUMENTS=1 python -m pytest -m slow tests/end_to_end/cli/test_documented_sessions.py
"""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from aiowatermark.emulator import EmulatedTask, Emulator
from tests.support.cli import Cli
from tests.support.images import make_jpeg
from tests.support.processes import REPOSITORY
from tests.support.terminal import TerminalSession

DOCUMENT = REPOSITORY / "docs" / "command-line.md"
NAMES = ("beach/boat.jpg", "beach/dog.jpg", "city/bridge.jpg", "city/night/tram.jpg")
COMMAND = ("remove", "-r", "photos", "--provider", "picwish", "-o", "clean")


class Recorder:
    """Runs commands in a terminal, and writes down what the screen shows."""

    def __init__(self, cli: Cli, emulator: Emulator, columns: int) -> None:
        self.folder, self.columns, self.variables = cli.folder, columns, cli.env
        self.base_url = ("--base-url", emulator.base_url)
        self.lines: list[str] = []

    async def run(self, *arguments: str, stop_when: Callable[[str], bool] | None = None) -> None:
        """Run a command to its end, or write down the screen that fulfils a condition and press Ctrl-C then."""
        self.lines.append(f"$ aiowatermark {shlex.join(arguments)}")
        session = await TerminalSession.start(
            *arguments, *self.base_url, columns=self.columns, folder=self.folder, variables=self.variables
        )
        try:
            if stop_when is not None:
                self.lines += [*(await session.wait_until(stop_when)).splitlines(), "^C"]
                session.process.send_signal(signal.SIGINT)
            # the option that leads to the emulator is no part of the session
            self.lines += _without(await session.finish(), shlex.join(self.base_url))
        finally:
            await session.close()
        self.lines.append("")


def _without(screen: str, option: str) -> list[str]:
    """Return the lines of a screen without an option, which may be spread over two lines."""
    pattern = r"\s?".join(map(re.escape, option.replace(" ", "")))
    return re.sub(rf" ?{pattern}", "", screen).splitlines()


async def record(cli: Cli, columns: int) -> str:
    """Return a session: a dry run and a run, one with further files that is stopped, and the same command again."""
    write_photos(cli.folder, NAMES[:2])

    def processing(_: EmulatedTask) -> float:
        return 0.0 if len(emulator.tasks) < 3 else 8.0

    def two_are_running(screen: str) -> bool:
        return "3/5" in screen and screen.count("running") == 2

    async with Emulator(restore=False, processing=processing) as emulator:
        cli.use_keys_of(emulator)
        recorder = Recorder(cli, emulator, columns)
        await recorder.run(*COMMAND, "--dry-run")
        await recorder.run(*COMMAND)
        write_photos(cli.folder, NAMES[2:])
        (cli.folder / "photos" / "city" / "draft.jpg").write_text("not an image")
        recorder.lines += ["$ cp -r ~/city photos"]
        await recorder.run(*COMMAND, stop_when=two_are_running)
        await recorder.run(*COMMAND)
    return "\n".join(recorder.lines).strip()


def write_photos(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_jpeg(padding=NAMES.index(name) + 1))


def normalized(session: str) -> str:
    """Return a session without what differs: times, costs, progress, and the frame of the spinner."""
    session = re.sub(r"\d+(\.\d)? s\b", "N s", session)
    session = re.sub(r" (for|,) [\d.]+ credits?( \(.*\))?", "", session)
    session = re.sub(r"[━╸╺]+", "━", session)
    session = re.sub(r"(?m)\d+%|\d:\d\d left|^[⠀-⣿]", "", session)
    return re.sub(r"[ \t]+", " ", session)


def documented(columns: int) -> re.Match[str]:
    found = re.search(rf"<!-- session: {columns} -->\n```text\n(.*?)\n?```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 200])
async def test_the_session_in_the_document_is_what_the_command_line_shows(cli: Cli, columns: int) -> None:
    session = await record(cli, columns)
    assert str(cli.folder) not in session
    assert "127.0.0.1" not in session
    assert all(len(line) <= columns for line in session.splitlines())
    if os.environ.get("UPDATE_DOCUMENTS"):
        found, text = documented(columns), DOCUMENT.read_text()
        DOCUMENT.write_text(f"{text[: found.start(1)]}{session}\n{text[found.end(0) - 3 :]}")
    assert normalized(session) == normalized(documented(columns)[1])
