"""`aiowatermark credits`: what an account holds."""

from __future__ import annotations

import asyncio

import click

from ... import Client, Credits
from ..console.runner import DONE, run
from ..options.providers import base_url_option, provider_from_env, provider_option


@click.command()
@provider_option
@base_url_option
def credits(name: str, base_url: str | None) -> None:  # noqa: A001 - the command's name
    """Show what an account holds, in the provider's own credits."""
    provider = provider_from_env(name, base_url)

    async def work(_: asyncio.Event) -> int:
        async with Client(provider) as client:
            click.echo(f"{provider.display_name}: {describe_balance(await client.credits())}")
        return DONE

    run(work)


def describe_balance(balance: Credits) -> str:
    """A balance in words."""
    text = f"{balance.available:g} credits available"
    if balance.used is not None and balance.limit is not None:
        return f"{text}, {balance.used:g} of {balance.limit:g} used"
    return text
