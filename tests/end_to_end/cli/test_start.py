"""How the command line starts: quickly, and with a sentence where something is not installed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Cli

_WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from aiowatermark.cli import main
main()
"""
_HELPED = """
import sys
sys.argv = ["aiowatermark", "--help"]
from aiowatermark.cli import main
try:
    main()
finally:
    print(sorted({"aiohttp", "rich", "cv2", "numpy", "cattrs"} & sys.modules.keys()))
"""


async def test_help_lists_the_commands_at_once(cli: Cli) -> None:
    started = time.perf_counter()
    ended = await cli("--help")
    assert time.perf_counter() - started < 2.0  # 0.1 s where nothing else runs; CI machines are slow
    assert ended.code == 0
    assert all(f"\n  {name} " in ended.out for name in ("remove", "resume", "jobs", "doctor", "demo", "emulator"))


async def test_help_needs_nothing_but_click(cli: Cli) -> None:
    ended = await cli(code=_HELPED)
    assert ended.out.endswith("[]\n"), ended.text


@pytest.mark.parametrize("command", ["remove", "resume", "jobs", "credits", "doctor", "demo", "emulator"])
async def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    ended = await cli(command, "--help")
    assert ended.code == 0
    assert f"Usage: aiowatermark {command}" in ended.out


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("click", ("--help",), "aiowatermark[cli]"),
        ("rich", ("demo",), "aiowatermark[cli]"),
        ("cv2", ("demo",), "aiowatermark[cli,emulator]"),
        ("cv2", ("emulator",), "aiowatermark[cli,emulator]"),
    ],
)
async def test_what_is_not_installed_is_named_with_the_command_that_installs_it(
    cli: Cli, missing: str, arguments: tuple[str, ...], extra: str
) -> None:
    ended = await cli(*arguments, code=_WITHOUT.format(names=[missing]))
    assert ended.code == 2, ended.text
    assert f"pip install '{extra}'" in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_an_unknown_command_is_a_usage_error(cli: Cli) -> None:
    ended = await cli("restore")
    assert ended.code == 2
    assert "No such command 'restore'" in ended.err
