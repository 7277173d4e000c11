"""Command `doctor`: checks what the other commands need, and prints what to do about each failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import click

from ... import provider_names
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, run
from ..doctor.local_checks import CheckResult, check_keys, check_packages
from ..doctor.network_checks import check_callbacks, check_provider, check_store
from ..options.callbacks import DEFAULT_HOST, DEFAULT_PORT, CallbackOptions
from ..options.providers import base_url_option, provider_from_env


@click.command()
@click.option(
    "--provider",
    "name",
    type=click.Choice(provider_names()),
    help="Also check that this provider is reachable and, if it has a call for it, that it accepts the key.",
)
@base_url_option
@click.option("--callback-url", metavar="URL", help="Also check that this public URL leads to this machine.")
@click.option(
    "--callback-host",
    metavar="HOST",
    default=DEFAULT_HOST,
    show_default=True,
    help="Address on which the callback server listens.",
)
@click.option(
    "--callback-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help=f"Port on which it listens.  [default: {DEFAULT_PORT}]",
)
@click.option(
    "--store",
    metavar="PATH|redis://...",
    help="Also check that this store can be opened and written, and say what the settings of a Redis mean.",
)
def doctor(  # noqa: PLR0917 - click calls it by name
    name: str | None,
    base_url: str | None,
    callback_url: str | None,
    callback_host: str,
    callback_port: int | None,
    store: str | None,
) -> None:
    """Check Python, packages and API keys; with options also a provider, a callback URL and a store.

    Prints no key, submits no job and costs nothing.

    Exit status: 0 if all checks passed, 1 if one failed.
    """
    check_server = callback_url is not None or callback_port is not None
    callbacks = CallbackOptions(callback_url, callback_host, DEFAULT_PORT if callback_port is None else callback_port)

    async def work(stop: asyncio.Event) -> int:
        failed = 0
        async for result in _run_checks(name, base_url, callbacks if check_server else None, store):
            click.echo(result.line)
            failed += result.ok is False
            if stop.is_set():
                return EXIT_SOME_FAILED
        click.echo(click.style(f"\n{failed} failed." if failed else "\nAll checks passed.", bold=True))
        return EXIT_SOME_FAILED if failed else EXIT_OK

    run(work)


async def _run_checks(
    name: str | None, base_url: str | None, callbacks: CallbackOptions | None, store: str | None
) -> AsyncIterator[CheckResult]:
    for result in check_packages():
        yield result
    keys_usable = True
    for result in check_keys(name):
        keys_usable = keys_usable and result.ok is not False
        yield result
    # without a usable key provider_from_env would exit, and the other checks would not run
    network_checks = [check_provider(provider_from_env(name, base_url))] if name and keys_usable else []
    network_checks += [check_callbacks(callbacks)] if callbacks else []
    network_checks += [check_store(store)] if store else []
    for results in network_checks:
        async for result in results:
            yield result
