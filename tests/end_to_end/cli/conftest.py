"""Fixtures that run the command line in a process, against an emulator in the test's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator
from tests.support.cli import Cli
from tests.support.images import make_jpeg


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    """Runs the command line; processes that still run are killed at the end of the test."""
    runner = Cli(tmp_path)
    yield runner
    await runner.kill_all()


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
