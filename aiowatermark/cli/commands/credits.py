"""Command `credits`: prints the balance of an account."""

from __future__ import annotations

import asyncio

import click

from ... import Client, Credits
from ..console.runner import EXIT_OK, run
from ..options.providers import base_url_option, provider_from_env, provider_option


@click.command()
@provider_option
@base_url_option
def credits(name: str, base_url: str | None) -> None:  # noqa: A001 - the command's name
    """Show the balance of a provider account, in the provider's own credits.

    Costs nothing. Not every provider documents a call for it.
    """
    provider = provider_from_env(name, base_url)

    async def work(_: asyncio.Event) -> int:
        async with Client(provider, trust_env=True) as client:
            click.echo(f"{provider.display_name}: {format_balance(await client.credits())}")
        return EXIT_OK

    run(work)


def format_balance(balance: Credits) -> str:
    """Return a balance as text."""
    text = f"{balance.available:g} credits available"
    if balance.used is not None and balance.limit is not None:
        return f"{text}, {balance.used:g} of {balance.limit:g} used"
    return text
