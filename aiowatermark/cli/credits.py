"""`aiowatermark credits`: what an account holds."""

from __future__ import annotations

import asyncio

import click

from .. import Client, Credits
from .accounts import account, base_url_option, provider_option
from .running import DONE, run


@click.command()
@provider_option
@base_url_option
def credits(name: str, base_url: str | None) -> None:  # noqa: A001 - the command's name
    """Show what an account holds, in the provider's own credits."""
    provider = account(name, base_url)

    async def work(_: asyncio.Event) -> int:
        async with Client(provider) as client:
            click.echo(f"{provider.title}: {_told(await client.credits())}")
        return DONE

    run(work)


def _told(held: Credits) -> str:
    text = f"{held.available:g} credits available"
    if held.used is not None and held.limit is not None:
        return f"{text}, {held.used:g} of {held.limit:g} used"
    return text
