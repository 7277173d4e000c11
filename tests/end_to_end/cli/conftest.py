"""Fixtures that run the command line in a process, against an emulator in the test's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import define, field

import aiowatermark
from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg
from tests.support.processes import Finished, Running, start_python


@define(eq=False)
class Cli:
    """Starts `aiowatermark` in a temporary folder; the environment holds no API keys but those in `env`."""

    folder: Path
    env: dict[str, str] = field(factory=dict)
    started: list[Running] = field(factory=list)

    def use_keys_of(self, emulator: Emulator) -> None:
        """Put an emulator's keys into the environment of processes started from now on."""
        for name, credential in emulator.keys.items():
            values = (credential,) if isinstance(credential, str) else credential
            self.env |= dict(zip(aiowatermark.provider_class(name).env.values(), values, strict=True))

    async def start(self, *args: str | Path, code: str | None = None) -> Running:
        """Start a process with these arguments; `code` is run instead of the package's main module."""
        program = ("-m", "aiowatermark") if code is None else ("-c", code)
        running = await start_python(*program, *args, folder=self.folder, variables=self.env)
        self.started.append(running)
        return running

    async def __call__(self, *args: str | Path, stdin: str = "", code: str | None = None) -> Finished:
        """Run a process until it ends."""
        return await (await self.start(*args, code=code)).finish(stdin)


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    """Run the command line; processes that still run are killed at the end of the test."""
    runner = Cli(tmp_path)
    yield runner
    for running in runner.started:
        if running.process.returncode is None:
            await running.kill()


@pytest.fixture
def to_emulator(cli: Cli, emulator: Emulator) -> list[str]:
    """Arguments that send requests to the emulator and results to `clean`; its keys are in the environment."""
    cli.use_keys_of(emulator)
    return ["--base-url", emulator.base_url, "-o", "clean"]


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """The names of three images in the folder."""
    names = ["one.jpg", "two.JPEG", "three.jpg"]
    for index, name in enumerate(names):
        (tmp_path / name).write_bytes(make_jpeg(padding=index + 1))
    return names
