"""Every `aiowatermark …` that the README or a page of docs/ names has these commands and options."""

from __future__ import annotations

import re
from pathlib import Path

import click

from aiowatermark.cli.app import aiowatermark
from tests.support.documents import DOCUMENTS

_INLINE = re.compile(r"(?<!`)`(aiowatermark [^`]+)`(?!`)")
_BLOCK = re.compile(r"^```(?:sh|bash|text)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"^(?:\$ )?(aiowatermark .+)$", re.MULTILINE)
_OPTION = re.compile(r"(?<!\S)(--?[a-z][\w-]*)")


def documented_commands(document: Path) -> list[str]:
    """Return the command lines in a document, without comments."""
    text = document.read_text()
    blocks = "\n".join(_BLOCK.findall(text))
    found = [*_LINE.findall(blocks), *_INLINE.findall(_BLOCK.sub("", text))]
    return [re.sub(r"\s#\s.*", "", " ".join(command.split())) for command in found]


def problems(line: str) -> list[str]:
    """Return what the command line does not know of a documented command."""
    command: click.Command = aiowatermark
    context, words = click.Context(command), line.split()[1:]
    while isinstance(command, click.Group) and words and (inner := command.get_command(context, words[0])):
        command, context, words = inner, click.Context(inner, parent=context), words[1:]
    if command is aiowatermark and words and re.fullmatch(r"[a-z]+", words[0]):
        return [f"{line}: no command {words[0]}"]
    known = {option for each in command.get_params(context) for option in (*each.opts, *each.secondary_opts)}
    return [f"{line}: no option {option}" for option in _OPTION.findall(" ".join(words)) if option not in known]


def test_the_commands_of_the_documents_exist_with_their_options() -> None:
    commands = [command for document in DOCUMENTS for command in documented_commands(document)]
    assert len(commands) > 30
    assert [problem for command in commands for problem in problems(command)] == []


def test_a_command_or_option_that_does_not_exist_is_found() -> None:
    assert problems("aiowatermark remvoe photo.jpg") == ["aiowatermark remvoe photo.jpg: no command remvoe"]
    assert problems("aiowatermark jobs --sotre x") == ["aiowatermark jobs --sotre x: no option --sotre"]
    assert problems("aiowatermark jobs settle KEY --paid") == []
