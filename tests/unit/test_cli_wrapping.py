"""Prose on a terminal is broken at words; commands are not broken, so that they can be copied."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TextIO

import pytest

from aiowatermark.cli.console.texts import shown_on, terminal_columns, wrap

PROSE = "Stopping: waiting up to 20 s for the answers to what was sent; Ctrl-C again exits at once."
COMMAND = "  aiowatermark jobs settle -o a-folder-with-a-long-name KEY --task-id ID --provider NAME"
MIXED = "  a.jpg: was sent before: `aiowatermark resume KEY --provider picwish -o clean` fetches it, at no further cost"


@pytest.mark.parametrize("columns", [40, 80])
def test_prose_is_broken_at_words(columns: int) -> None:
    lines = wrap(PROSE, columns).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= columns for line in lines)
    assert " ".join(lines) == PROSE


@pytest.mark.parametrize("columns", [40, 80])
def test_a_command_stays_on_one_line(columns: int) -> None:
    assert wrap(COMMAND, columns) == COMMAND
    lines = wrap(MIXED, columns).splitlines()
    assert sum("`aiowatermark resume KEY --provider picwish -o clean`" in line for line in lines) == 1
    assert all(line.startswith("  ") for line in lines), "what belongs together is indented alike"


def test_what_stands_before_a_text_takes_room() -> None:
    assert wrap("one two three four five six", 30, len("Error: ")).splitlines() == ["one two three four five", "six"]


def test_a_short_text_and_a_long_word_stay_as_they_are() -> None:
    assert wrap("  done", 40) == "  done"
    assert wrap("x" * 100, 40) == "x" * 100


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A terminal of 40 columns."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(other, "w") as stream:
        yield stream
    os.close(main)


def test_a_text_on_a_terminal_has_its_width_and_not_an_inherited_one(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    assert terminal_columns(terminal) == 40
    assert max(map(len, shown_on(terminal, PROSE).splitlines())) <= 40


def test_a_text_is_one_line_for_a_program_and_for_a_terminal_that_cannot_move_its_cursor(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    assert shown_on(terminal, PROSE) == PROSE
    monkeypatch.setenv("TERM", "xterm")
    assert shown_on(StringIO(), PROSE) == PROSE
    with Path(os.devnull).open("w", encoding="utf-8") as file:
        assert shown_on(file, PROSE) == PROSE
