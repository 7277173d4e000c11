"""Command `credits`: prints the balance of an account."""

from __future__ import annotations

import asyncio

import click

from ... import Client, WatermarkError
from ..batch.items import format_balance
from ..batch.json_lines import json_line
from ..console.runner import EXIT_OK, run
from ..options.providers import base_url_option, provider_from_env, provider_option

_EPILOG = """\b
Example:
  aiowatermark credits --provider kaze
"""


@click.command(epilog=_EPILOG)
@provider_option
@base_url_option
@click.option("--json", "as_json", is_flag=True, help="Print the balance as a JSON object.")
def credits(name: str, base_url: str | None, as_json: bool) -> None:  # noqa: A001, FBT001 - click calls it by name
    """Show the balance of a provider account, in the provider's own credits.

    Costs nothing. Not every provider documents a call for it.
    """
    provider = provider_from_env(name, base_url)

    async def work(_: asyncio.Event) -> int:
        async with Client(provider, trust_env=True) as client:
            try:
                balance = await client.credits()
            except WatermarkError as error:
                raise error.about(provider=name, key=None, token=None) from None
        if as_json:
            click.echo(json_line(provider=name, available=balance.available, used=balance.used, limit=balance.limit))
        else:
            click.echo(f"{provider.display_name}: {format_balance(balance)}")
        return EXIT_OK

    run(work)
