"""Starts Python processes and awaits what they print."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, frozen

import aiowatermark

TIMEOUT = 90.0
"""Seconds after which waiting for a process fails."""
ROOT = Path(aiowatermark.__file__).parents[1]
"""The folder that contains the package under test; started processes import it from there."""
REPOSITORY = Path(__file__).parents[2]


@frozen
class Finished:
    """Exit code and output of a process that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines on stdout, parsed as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def text(self) -> str:
        """All output: stdout, then stderr."""
        return self.out + self.err


@define(eq=False)
class Running:
    """A running process whose output can be awaited."""

    process: Process

    def write_line(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    async def read_line(self) -> str:
        """Read a line of its stdout, without the line break; empty at the end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            return (await self.process.stdout.readline()).decode().removesuffix("\n")

    async def wait_for_output(self, words: str) -> str:
        """Read stdout up to the line that contains these words, and return all of it."""
        assert self.process.stdout is not None
        text = ""
        async with asyncio.timeout(TIMEOUT):
            while words not in text:
                line = (await self.process.stdout.readline()).decode()
                assert line, f"the process has ended: {text}{(await self.finish()).text}"
                text += line
        return text

    async def finish(self, stdin: str = "") -> Finished:
        """Write to its stdin, close it, and wait until the process has ended."""
        async with asyncio.timeout(TIMEOUT):
            out, err = await self.process.communicate(stdin.encode())
        return Finished(self.process.returncode or 0, out.decode(), (err or b"").decode())

    async def kill(self) -> None:
        """Kill the process, if it still runs, and wait until it has ended."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without API keys and addresses; the package and `tests` can be imported.

    COLUMNS and LINES are left out, too: readline, which pytest imports, sets them for the workers of pytest-xdist. So
    are the settings of asyncio's debug mode: it prints which steps took long, which depends on the load.
    """
    left_out = ("_KEY", "_SECRET", "_BASE_URL", "COLUMNS", "LINES", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG")
    inherited = {name: value for name, value in os.environ.items() if not name.endswith(left_out)}
    path = os.pathsep.join(filter(None, (str(ROOT), str(REPOSITORY), inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path, **variables}


async def start_python(
    *arguments: str | Path,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    stderr: int | None = PIPE,
    before: Sequence[str] = (),
) -> Running:
    """Start an interpreter in which warnings are errors; `variables` are added to its `environment`.

    `before` is a program that runs it, with its arguments. With `stderr=None` its errors are shown with those of this
    process, and `Finished.err` is empty.
    """
    process = await asyncio.create_subprocess_exec(
        *(*before, sys.executable, "-W", "error", *map(str, arguments)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=stderr,
        cwd=folder,
        env=environment(**(variables or {})),
    )
    return Running(process)


async def run_python(
    *arguments: str | Path, stdin: str = "", folder: Path | None = None, variables: Mapping[str, str] | None = None
) -> Finished:
    """Run an interpreter as `start_python` starts it, until it ends."""
    return await (await start_python(*arguments, folder=folder, variables=variables)).finish(stdin)


@asynccontextmanager
async def running_python(*arguments: str | Path, variables: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """Start an interpreter whose errors are shown with those of this process; it is killed at the end."""
    running = await start_python(*arguments, variables=variables, stderr=None)
    try:
        yield running
    finally:
        await running.kill()
