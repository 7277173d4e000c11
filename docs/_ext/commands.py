"""Sphinx extension: the directive `{commands}` describes every command of the command line, as `--help` does.

It reads the click commands while the site is built, so there is nothing that could be out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click
from sphinx.util.docutils import SphinxDirective

from aiowatermark.cli.app import aiowatermark

# what Markdown would take for markup, outside of code
_MARKUP = re.compile(r"([\\*_<>\[\]|#])")
_OPTION = re.compile(r"(?<![\w`-])(--?[a-z][\w-]*)")
_PAGE = re.compile(r"\bdocs/([\w/-]+\.md)\b")
_CODE = re.compile(r"(`[^`]*`)")


def as_markdown(text: str) -> str:
    """Return a paragraph of a help text with markup escaped, and its options and code as code."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if part.startswith("`") else _words(part) for part in parts)


def _words(text: str) -> str:
    parts = _OPTION.split(text)
    escaped = "".join(f"`{part}`" if number % 2 else _MARKUP.sub(r"\\\1", part) for number, part in enumerate(parts))
    return _PAGE.sub(r"[](../\1)", escaped)


def paragraphs(text: str | None) -> Iterator[str]:
    """Yield the paragraphs of a help text; those that click does not rewrap are shown as they are."""
    for paragraph in inspect.cleandoc(text or "").split("\f")[0].split("\n\n"):
        if paragraph.strip().startswith("\b"):
            title, _, examples = paragraph.strip().lstrip("\b\n").partition(":\n")
            yield f"{as_markdown(title)}:" if examples else ""
            yield f"```text\n{inspect.cleandoc(examples or title)}\n```"
        else:
            yield as_markdown(paragraph)


def describe_option(option: click.Option, context: click.Context) -> str:
    """Return an option, in the words of `--help`: what it does, its default and whether it is required."""
    record = option.get_help_record(context)
    if record is None:
        return ""
    forms, text = record
    # a choice is written [a|b|c]; the name of the option is enough in the heading
    heading, choices = re.subn(r" \[([^\]]*)\]$", " NAME", forms)
    listed = re.findall(r"\[([^\]]*)\]$", forms) if choices else []
    also = f" One of: {', '.join(listed[0].split('|'))}." if listed else ""
    return f":::{{option}} {heading}\n{as_markdown(text + also)}\n:::"


def describe(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
    """Yield the Markdown of a command, and of those below it."""
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **command.context_settings)
    yield f"{'#' * (path.count(' ') + 2)} {path}"
    yield f"```text\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield from paragraphs(command.help)
    yield f":::{{program}} {path}\n:::"
    options = (parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option))
    yield from (describe_option(option, context) for option in options)
    yield from paragraphs(command.epilog)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from describe(found, f"{path} {name}", context)


class Commands(SphinxDirective):
    """The directive `{commands}`."""

    def run(self) -> list[Any]:
        """Return the nodes of all commands."""
        text = "\n\n".join(part for part in describe(aiowatermark, "aiowatermark", None) if part)
        return list(self.parse_text_to_nodes(text, allow_section_headings=True))


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
