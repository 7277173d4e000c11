"""A terminal for tests: runs the command line in a pseudo-terminal, and knows what its screen shows.

A line that is too long is continued in the next one; `widest` is how long it would have been.
It understands what the command line writes: printable text, carriage return, line feed, cursor up, erase line, and
colours, which are counted and otherwise ignored.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field

from tests.support.processes import TIMEOUT, environment

_PART = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|[\x00-\x1f]|[^\x00-\x1f\x1b]+")


@define(eq=False)
class Screen:
    """The lines of a terminal, also those that have scrolled out of sight; `colors` counts changes of colour."""

    columns: int
    lines: list[str] = field(factory=lambda: [""])
    colors: int = 0
    widest: int = 0
    _row: int = 0
    _column: int = 0

    def feed(self, text: str) -> None:
        """Apply what a program wrote."""
        for part in _PART.finditer(text):
            if part[2]:
                self._control(part[1], part[2])
            elif part[0] == "\r":
                self._column = 0
            elif part[0] == "\n":
                self._row += 1
                self.lines += [""] * (self._row + 1 - len(self.lines))
            elif part[0].isprintable():
                self._write(part[0])

    def _control(self, arguments: str, letter: str) -> None:
        if letter == "A":
            self._row = max(self._row - int(arguments or 1), 0)
        elif letter == "K":
            self.lines[self._row] = ""
        elif letter == "m":
            self.colors += any(3 <= int(code or 0) // 10 <= 4 for code in arguments.split(";"))

    def _write(self, text: str) -> None:
        self.widest = max(self.widest, self._column + len(text))
        while text:
            room = self.columns - self._column
            if not room:  # a terminal goes on in the next line when more is written
                self.feed("\r\n")
                continue
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + text[:room] + line[self._column + len(text[:room]) :]
            self._column += len(text[:room])
            text = text[room:]

    @property
    def text(self) -> str:
        """What the screen shows, without the spaces at the end of lines."""
        return "\n".join(line.rstrip() for line in self.lines).strip("\n")


@define(eq=False)
class TerminalSession:
    """A running command line whose output is a terminal of `columns` columns."""

    process: Process
    screen: Screen
    _main: int

    @classmethod
    async def start(
        cls, *arguments: str, columns: int, folder: Path, variables: dict[str, str] | None = None
    ) -> TerminalSession:
        """Start `aiowatermark` with these arguments."""
        main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "aiowatermark", *arguments),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env=environment(**{"TERM": "xterm-256color", **(variables or {})}),
        )
        os.close(terminal)
        os.set_blocking(main, False)
        return cls(process, Screen(columns), main)

    async def wait_for(self, *words: str) -> str:
        """Read until the screen shows all words, and return it."""
        return await self.wait_until(lambda text: all(word in text for word in words))

    async def wait_until(self, condition: Callable[[str], bool]) -> str:
        """Read until the screen fulfils a condition, and return it."""
        async with asyncio.timeout(TIMEOUT):
            while not condition(self.screen.text):
                assert self.process.returncode is None, self.screen.text
                await self._read()
        return self.screen.text

    def press_ctrl_c(self) -> None:
        """Let the terminal echo Ctrl-C, and interrupt the process."""
        # the terminal controls no process, so that it sends no signal itself
        os.write(self._main, b"\x03")
        self.process.send_signal(signal.SIGINT)

    async def finish(self) -> str:
        """Read until the process has ended, and return what the screen shows then."""
        async with asyncio.timeout(TIMEOUT):
            while self.process.returncode is None:
                await self._read()
            await self._read()
        return self.screen.text

    async def _read(self) -> None:
        try:
            self.screen.feed(os.read(self._main, 1 << 16).decode(errors="replace"))
        except BlockingIOError:
            await asyncio.sleep(0.02)
        except OSError:  # the other end was closed
            await self.process.wait()

    async def close(self) -> None:
        """Kill the process if it still runs, and close the terminal."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        os.close(self._main)


def rows_of(screen: str) -> Sequence[str]:
    """Return the lines of a display that are rows of jobs."""
    return [line for line in screen.splitlines() if re.search(r"\d+\.\d s$", line)]
