"""The group of commands: what `--help` shows, and where each one is found once it is called."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

import click

from .console.extras import install_hint

# the help of the group is made from these lines alone: no command is imported for it
_COMMANDS = {
    "remove": "Remove marks from pictures and videos with a provider's account.",
    "resume": "Fetch what was submitted before and not finished.",
    "jobs": "List the jobs a store knows as unfinished, or forget some.",
    "credits": "Show what an account holds.",
    "doctor": "Check this machine: packages, keys, callbacks, store.",
    "demo": "See it work, on this machine, without an account.",
    "emulator": "Serve the five APIs on this machine.",
}


class LazyGroup(click.Group):
    """A group whose commands are modules of their own name, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which one needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now; says what to install where a library is missing."""
        if cmd_name not in _COMMANDS:
            return None
        try:
            command: Any = getattr(import_module(f"{__package__}.commands.{cmd_name}"), cmd_name)
        except ModuleNotFoundError as error:
            click.echo(install_hint(error), err=True)
            raise SystemExit(2) from None
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        try:
            click.echo(f"aiowatermark {metadata.version('aiowatermark')}")
        except metadata.PackageNotFoundError:
            click.echo("aiowatermark, not installed")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def aiowatermark() -> None:
    """Watermark removal with five providers: nothing paid twice, nothing paid lost.

    Begin with `aiowatermark demo`: it needs no account and no network.
    """
