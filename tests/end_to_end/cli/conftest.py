"""The command line as its users meet it: a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

import aiowatermark
from aiowatermark.emulator import Emulator

ROOT = Path(aiowatermark.__file__).parents[1]
TIMEOUT = 50.0


@frozen
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def text(self) -> str:
        """All that was said."""
        return self.out + self.err


@define(eq=False)
class Running:
    """A process that runs; what it says can be awaited."""

    process: Process

    async def ended(self, stdin: str | None = None) -> Ended:
        """Wait for its end."""
        given = None if stdin is None else stdin.encode()
        async with asyncio.timeout(TIMEOUT):
            out, err = await self.process.communicate(given)
        return Ended(self.process.returncode or 0, out.decode(), err.decode())

    async def says(self, word: str) -> str:
        """The text on stdout up to the line with this word."""
        text = ""
        async with asyncio.timeout(TIMEOUT):
            while word not in text:
                line = await self._line()
                assert line, text
                text += line
        return text

    async def _line(self) -> str:
        assert self.process.stdout
        return (await self.process.stdout.readline()).decode()


@define(eq=False)
class Cli:
    """Starts `aiowatermark` in a folder of its own, without any key unless given."""

    folder: Path
    env: dict[str, str] = field(factory=dict)
    root: Path = ROOT
    running: list[Process] = field(factory=list)

    def has_keys_of(self, emulator: Emulator) -> None:
        """From now on the environment holds an emulator's keys."""
        for name, credential in emulator.keys.items():
            values = (credential,) if isinstance(credential, str) else credential
            self.env |= dict(zip(aiowatermark.provider_class(name).env.values(), values, strict=True))

    async def start(self, *args: str | Path, code: str | None = None) -> Running:
        """A process with these arguments; `code` stands for the module."""
        env = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_SECRET"))}
        path = os.pathsep.join(filter(None, (str(self.root), env.get("PYTHONPATH"))))
        command = ["-m", "aiowatermark"] if code is None else ["-c", code]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            *command,
            *map(str, args),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=self.folder,
            env={**env, **self.env, "PYTHONPATH": path},
        )
        self.running.append(process)
        return Running(process)

    async def __call__(self, *args: str | Path, stdin: str = "", code: str | None = None) -> Ended:
        """Run it to its end."""
        return await (await self.start(*args, code=code)).ended(stdin)


@pytest.fixture
async def cli(tmp_path: Path) -> Any:
    made = Cli(tmp_path)
    yield made
    for process in made.running:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def at(cli: Cli, emulator: Emulator) -> list[str]:
    """The arguments that lead to the emulator, whose keys are in the environment."""
    cli.has_keys_of(emulator)
    return ["--base-url", emulator.base_url, "-o", "clean"]


@pytest.fixture
def photos(tmp_path: Path, picture: Callable[..., bytes]) -> list[str]:
    """Three pictures in the folder."""
    names = ["one.jpg", "two.JPEG", "three.jpg"]
    for index, name in enumerate(names):
        (tmp_path / name).write_bytes(picture(padding=index + 1))
    return names
