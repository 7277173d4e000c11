"""Texts that others wrote, as a terminal may show them: escaped, bounded, and without the passwords of URLs.

Names come from command lines, folders, tokens, keys and servers. What is not printable is shown as an escape, as are
bytes that are not UTF-8 and, where the encoding of the terminal is narrower, the letters that it does not have.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path
from typing import TextIO

import click

from ...redaction import mask_password as mask_password  # other modules take it from here
from ...redaction import redact_url

MAX_TEXT = 2000
"""Characters of the longest line that is printed: an error names a file, and a file name may be long."""
MAX_NAME = 300
"""Characters of the longest name that is printed."""
_COMMAND, _NO_BREAK = re.compile(r"`[^`]*`"), "\0"


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text on one line, with an escape for each character that is not printable, cut in its middle."""
    return "".join(each if each.isprintable() else _escape(each) for each in shorten(text, limit))


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters: of a longer one the beginning and the end."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"


def shown_name(source: str) -> str:
    """Return the name of an input or a result for people: a URL without its query, which may hold a signature."""
    return printable(redact_url(source) if "://" in source else source, MAX_NAME)


def encodable(text: str, stream: TextIO) -> str:
    """Return a text with escapes for what the encoding of a stream does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding, "replace")


def discard_output(stream: TextIO) -> None:
    """Let what is written to stdout from now on go nowhere: its reader has ended, as `head` does."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def say(text: str, *, err: bool = False, bold: bool = False) -> None:
    """Print a text as its stream can show it: on a terminal broken at words, elsewhere on one line."""
    click.echo(click.style(shown_on(sys.stderr if err else sys.stdout, text), bold=bold), err=err)


def end_echo(stream: TextIO) -> None:
    """Begin a new line on a terminal, which has echoed Ctrl-C at the beginning of this one."""
    if terminal_columns(stream):
        click.echo(file=stream)


def shown_on(stream: TextIO, text: str, indent: int = 0) -> str:
    """Return a text as a stream can show it: on a terminal broken at words, elsewhere on one line.

    `indent` characters precede it.
    """
    # click replaces a stream that only knows ASCII by one of UTF-8, so that is not left to it; a command that was cut
    # would be another command
    limit = len(text) if _is_command(text) else MAX_TEXT
    shown, columns = encodable(printable(text, limit), stream), terminal_columns(stream)
    return wrap(shown, columns, indent) if columns else shown


def terminal_columns(stream: TextIO) -> int:
    """Return the width of a terminal for people; 0 for anything else, where each text is one line for programs."""
    if os.environ.get("TERM") == "dumb":
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return 0


def wrap(text: str, columns: int, indent: int = 0) -> str:
    """Return a text in lines of at most so many columns, broken at words; a command stays whole, to be copied."""
    if _is_command(text):
        return text
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _NO_BREAK), text)
    margin = " " * (len(text) - len(text.lstrip()))
    lines = textwrap.wrap(
        " " * indent + whole,
        max(columns, 20),
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)[indent:].replace(_NO_BREAK, " ")


def _is_command(text: str) -> bool:
    return text.lstrip().startswith("aiowatermark ")


def has_unicode(stream: TextIO) -> bool:
    """Whether a stream can show all characters."""
    return (getattr(stream, "encoding", None) or "").lower().startswith("utf")


def _escape(char: str) -> str:
    # surrogates stand for bytes that are not valid UTF-8: U+DCE9 for the byte E9
    return f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else repr(char)[1:-1]


def count_text(number: int, name: str) -> str:
    """Return a number of things: `1 file`, `2 files`."""
    return f"{number} {name}{'' if number == 1 else 's'}"
