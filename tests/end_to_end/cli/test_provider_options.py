"""Options of the providers' APIs on the command line: files, texts, and what only programs can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator
from tests.support.cli import Cli
from tests.support.images import make_mask


@pytest.mark.slow
async def test_an_option_that_is_a_file_is_part_of_the_job_by_its_content(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    for name in ("base.png", "copy.png"):
        (tmp_path / name).write_bytes(make_mask())
    command = ("remove", photos[0], "--provider", "dewatermark", *to_emulator, "--option")
    for name in ("base.png", "copy.png"):
        finished = await cli(*command, f"mask_base={name}")
        assert finished.code == 0, finished.text
    assert emulator.charged["dewatermark"] == 1
    (tmp_path / "base.png").write_bytes(make_mask(kind="bmp"))
    assert (await cli(*command, "mask_base=base.png")).code == 0
    assert emulator.charged["dewatermark"] == 2


async def test_an_option_that_is_a_file_that_does_not_exist_is_named(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    finished = await cli("remove", photos[0], "--provider", "kaze", *to_emulator, "--option", "smear=none.png")
    assert finished.code == 1
    assert "none.png cannot be read: No such file or directory" in finished.out
    assert not emulator.tasks


async def test_an_option_that_no_command_can_use_is_refused_with_the_reason(
    cli: Cli, to_emulator: list[str], photos: list[str]
) -> None:
    finished = await cli("remove", photos[0], "--provider", "dewatermark", *to_emulator, "--option", "session_id=abc")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err.startswith("Error: the option session_id is for programs only: a session takes the place")
