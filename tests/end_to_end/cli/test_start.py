"""The start of the command line: quick, with help that fits, and an install hint if a package is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
import pytest

from aiowatermark.cli.app import aiowatermark
from tests.support.cli import Cli

_RUN_WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from aiowatermark.cli import main
main()
"""
_RUN_HELP = """
import sys
sys.argv = ["aiowatermark", "--help"]
from aiowatermark.cli import main
try:
    main()
finally:
    print(sorted({"aiohttp", "rich", "cv2", "numpy", "cattrs"} & sys.modules.keys()))
"""


@pytest.mark.benchmark
async def test_help_takes_at_most_two_seconds(cli: Cli) -> None:
    started = time.perf_counter()
    await cli("--help")
    assert time.perf_counter() - started < 2.0  # 0.1 s on an idle machine


async def test_help_lists_the_commands(cli: Cli) -> None:
    finished = await cli("--help")
    assert finished.code == 0
    assert max(map(len, finished.out.splitlines())) <= 80, "it fits a terminal of 80 columns"
    names = ("remove", "resume", "jobs", "record", "doctor", "demo", "emulator")
    assert all(f"\n  {name} " in finished.out for name in names)


async def test_help_needs_nothing_but_click(cli: Cli) -> None:
    finished = await cli(code=_RUN_HELP)
    assert finished.out.endswith("[]\n"), finished.text


@pytest.mark.parametrize("command", ["remove", "resume", "jobs", "credits", "record", "doctor", "demo", "emulator"])
async def test_every_command_has_a_help_text(cli: Cli, command: str) -> None:
    finished = await cli(command, "--help")
    assert finished.code == 0
    assert f"Usage: aiowatermark {command}" in finished.out
    assert max(map(len, finished.out.splitlines())) <= 80, "it fits a terminal of 80 columns"


@pytest.mark.parametrize(
    "command",
    [("remove",), ("resume",), ("credits",), ("jobs",), ("jobs", "show"), ("jobs", "settle"), ("jobs", "forget")],
)
async def test_the_help_of_a_command_has_an_example_of_it(cli: Cli, command: tuple[str, ...]) -> None:
    finished = await cli(*command, "--help")
    assert f"\n    aiowatermark {' '.join(command)} " in finished.out.partition("Example")[2]


def commands_below(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every group of commands, from `aiowatermark` itself on."""
    yield path
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands_below(command, *path, name)


@pytest.mark.parametrize("group", list(commands_below(aiowatermark)), ids=" ".join)
async def test_no_text_of_a_list_of_commands_is_cut(cli: Cli, group: tuple[str, ...]) -> None:
    documented = (await cli(*group, "--help")).out
    words = ["aiowatermark", *group, ""]
    cli.env |= {
        "_AIOWATERMARK_COMPLETE": "zsh_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    completed = (await cli()).out.splitlines()
    listed = documented.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    assert {tuple(line.split(maxsplit=1)) for line in listed} == set(zip(completed[1::3], completed[2::3], strict=True))
    assert [text for text in (*listed, *completed) if "..." in text or "…" in text or len(text) > 80] == []


async def test_a_shell_completes_commands_as_the_help_says(cli: Cli) -> None:
    documented = (await cli("--help")).out
    assert 'eval "$(_AIOWATERMARK_COMPLETE=bash_source aiowatermark)"' in documented
    cli.env |= {"_AIOWATERMARK_COMPLETE": "bash_complete", "COMP_WORDS": "aiowatermark rem", "COMP_CWORD": "1"}
    assert (await cli()).out.split() == ["plain,remove"]


def every_command(group: click.Group) -> Iterator[click.Command]:
    """Yield all commands of a group, and of the groups in it."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield command
        if isinstance(command, click.Group):
            yield from every_command(command)


def test_every_option_of_every_command_has_a_description() -> None:
    options = [
        (command.name, option.opts[0], option.help)
        for command in every_command(aiowatermark)
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    assert len(options) > 50
    assert [found for found in options if not found[2]] == []


@pytest.mark.parametrize(
    "command", [("remove", "a.jpg", "-o", "clean"), ("credits",), ("resume", "--all", "-o", "clean")]
)
async def test_a_provider_that_is_not_named_is_asked_for_in_one_sentence(cli: Cli, command: tuple[str, ...]) -> None:
    finished = await cli(*command)
    assert finished.code == 2
    last = finished.err.splitlines()[-1]
    assert last.startswith("Error: Missing option '--provider'. Choose one of dewatermark, gptge, kaze, ")
    assert "\t" not in finished.err


async def test_the_version_is_printed(cli: Cli) -> None:
    finished = await cli("--version")
    assert finished.code == 0
    assert finished.out.startswith("aiowatermark")


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("click", ("--help",), "aiowatermark[cli]"),
        ("rich", ("demo",), "aiowatermark[cli]"),
        ("cv2", ("demo",), "aiowatermark[cli,emulator]"),
        ("cv2", ("emulator",), "aiowatermark[cli,emulator]"),
        ("numpy", ("demo",), "aiowatermark[cli,emulator]"),
        ("numpy", ("emulator",), "aiowatermark[cli,emulator]"),
    ],
)
async def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    cli: Cli, missing: str, arguments: tuple[str, ...], extra: str
) -> None:
    finished = await cli(*arguments, code=_RUN_WITHOUT.format(names=[missing]))
    assert finished.code == 2, finished.text
    assert f"pip install '{extra}'" in finished.err
    assert len(finished.err.splitlines()) == 1


async def test_an_unknown_command_is_a_usage_error(cli: Cli) -> None:
    finished = await cli("restore")
    assert finished.code == 2
    assert "No such command 'restore'" in finished.err
