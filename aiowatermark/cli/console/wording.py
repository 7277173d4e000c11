"""Wording: errors of the SDK in the words of the command line, whose options stand for arguments of Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ...options import PARAMETERS, Options

_Replacement: TypeAlias = str | Callable[[re.Match[str]], str]
_ARGUMENTS = {"mask": "--mask", "deadline": "--deadline", "again": "--again"}
"""Arguments of calls that the command line has, too."""


def _option(found: re.Match[str]) -> str:
    """Return an option of a provider as it is given to the command line."""
    value = found["value"].strip("'\"")
    return f"--option {found['name']}={value.lower() if value in {'True', 'False'} else value}"


def _argument(found: re.Match[str]) -> str:
    """Return what is said of an argument that was given as an option."""
    option = _ARGUMENTS.get(found["name"])
    return f"; it is given as {option}" if option else f"; {found['name']} is for programs only"


def _suggestion(found: re.Match[str]) -> str:
    """Return the suggestion of an argument of calls, if the command line has it."""
    option = _ARGUMENTS.get(found["name"])
    return f"; did you mean {option}?" if option else ""


_REPLACEMENTS: Sequence[tuple[re.Pattern[str], _Replacement]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("give the client `callbacks=` so that it can serve", "give --callback-url so that it can fetch"),
        ("CONTENT_KEY needs media that can be read again: pass a path, bytes or a key of yours",
         "its content cannot be read twice, as a job needs that is remembered: give a file"),
        (r" \(\w+ given\)", ""),  # on the command line all values are texts
        (r" with version='(\w+)'", r" with \1 of the API"),
        (rf"\b(?P<name>{'|'.join(Options.__annotations__)})=(?P<value>True|False|'[^']*'|\"[^\"]*\")", _option),
        (r"; (?P<name>\w+) is not an option but an argument of the call, \w+=…", _argument),
        (rf"; did you mean (?P<name>{'|'.join(PARAMETERS)})\?", _suggestion),
        (r"\bpublic_url must be (.*) this receiver\b", r"--callback-url must be \1 this machine"),
    )
]  # fmt: skip


def in_command_words(text: str) -> str:
    """Return a text of the SDK with options of the command line in place of arguments of Python."""
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text
