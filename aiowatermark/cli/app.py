"""Command group: the texts of `aiowatermark --help` and the lazy import of each command."""

from __future__ import annotations

import os
from importlib import import_module, metadata
from typing import Any

import click

from .console.extras import install_hint
from .console.suggestions import did_you_mean
from .console.verbosity import with_verbosity

# `--help` prints these lines and imports no command: it is quick, and needs nothing but click
_COMMANDS = {
    "remove": "Remove watermarks from images and videos through a provider.",
    "resume": "Fetch the results of jobs that were submitted before.",
    "jobs": "List the jobs of a store; show, settle or delete single ones.",
    "credits": "Show the balance of a provider account.",
    "record": "Record real answers of a provider for its tests; costs money.",
    "doctor": "Check packages, API keys, callbacks and the store.",
    "demo": "Try it on this machine: no account, no network, no cost.",
    "emulator": "Run a local emulator of the five provider APIs.",
}


class LazyGroup(click.Group):
    """Command group that imports `commands/NAME.py` when the command NAME is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, the most used first."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return the command; print how to install a missing library and exit with 2."""
        if cmd_name not in _COMMANDS:
            return None
        try:
            command: Any = getattr(import_module(f"{__package__}.commands.{cmd_name}"), cmd_name)
        except ModuleNotFoundError as error:
            click.echo(install_hint(error), err=True)
            raise SystemExit(2) from None
        if not isinstance(command, click.Command):
            return None
        command.short_help = _COMMANDS[cmd_name]  # what completion shows: click would cut the first line of the help
        return with_verbosity(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; the error for an unknown one names the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if "Did you mean" in error.message:  # newer versions of click say it themselves
                raise
            raise click.UsageError(error.message + did_you_mean(args[0], _COMMANDS), ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands; click's own method would import every command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        try:
            click.echo(f"aiowatermark {metadata.version('aiowatermark')}")
        except metadata.PackageNotFoundError:
            click.echo("aiowatermark, run from its source directory (not installed)")
        ctx.exit()


_EPILOG = """\b
Completion in bash, zsh or fish: put its line into your shell's start file
  eval "$(_AIOWATERMARK_COMPLETE=bash_source aiowatermark)"
  eval "$(_AIOWATERMARK_COMPLETE=zsh_source aiowatermark)"
  _AIOWATERMARK_COMPLETE=fish_source aiowatermark | source
"""


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version and exit."
)
@click.pass_context
def aiowatermark(context: click.Context) -> None:
    """Remove watermarks from images and videos through five commercial providers.

    Providers charge for every submission. A submission that may have been paid is never repeated, and a paid job can
    always be fetched later.

    Start with `aiowatermark demo`: it needs no account and no network. With an account, put its API key into the
    environment (`aiowatermark doctor` lists the variables) and run:

    \b
      aiowatermark remove photo.jpg --provider picwish -o clean
    """  # noqa: D301 - \b keeps click from rewrapping the example
    if os.environ.get("NO_COLOR"):
        context.color = False


with_verbosity(aiowatermark)
