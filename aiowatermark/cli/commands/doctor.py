"""`aiowatermark doctor`: one thing after another, each ok or with what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import click

from ... import provider_names
from ..console.runner import DONE, SOME_FAILED, run
from ..doctor.local_checks import CheckResult, check_keys, check_packages
from ..doctor.network_checks import check_callbacks, check_provider, check_store
from ..options.callbacks import PORT, CallbackOptions
from ..options.providers import base_url_option, provider_from_env


@click.command()
@click.option("--provider", "name", type=click.Choice(provider_names()), help="Ask this one, too; costs nothing.")
@base_url_option
@click.option("--callback-url", metavar="URL", help="Look whether this public URL leads to a server here.")
@click.option("--callback-host", metavar="HOST", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--callback-port", metavar="PORT", type=click.IntRange(0, 65535), help=f"Its port.  [default: {PORT}]")
@click.option("--store", metavar="PATH|redis://...", help="Look whether this store opens and can be written.")
def doctor(  # noqa: PLR0917 - click calls it by name
    name: str | None,
    base_url: str | None,
    callback_url: str | None,
    callback_host: str,
    callback_port: int | None,
    store: str | None,
) -> None:
    """Check what the others need: Python, packages, keys, and what is given. No key is shown, nothing is paid.

    Exits with 0 when all is well, 1 when something failed.
    """
    listens = callback_url is not None or callback_port is not None
    callbacks = CallbackOptions(callback_url, callback_host, PORT if callback_port is None else callback_port)

    async def work(stop: asyncio.Event) -> int:
        failed = 0
        async for check in _checks(name, base_url, callbacks if listens else None, store):
            click.echo(check.line)
            failed += check.ok is False
            if stop.is_set():
                return SOME_FAILED
        click.echo(click.style(f"\n{failed} failed" if failed else "\nAll is well.", bold=True))
        return SOME_FAILED if failed else DONE

    run(work)


async def _checks(
    name: str | None, base_url: str | None, callbacks: CallbackOptions | None, store: str | None
) -> AsyncIterator[CheckResult]:
    for check in check_packages():
        yield check
    usable = True
    for check in check_keys(name):
        usable = usable and check.ok is not False
        yield check
    beyond = [check_provider(provider_from_env(name, base_url))] if name and usable else []
    beyond += [check_callbacks(callbacks)] if callbacks else []
    beyond += [check_store(store)] if store else []
    for checks in beyond:
        async for check in checks:
            yield check
