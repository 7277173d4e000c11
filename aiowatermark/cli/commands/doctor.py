"""Command `doctor`: checks what the other commands need, and prints what to do about each failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import click

from ... import provider_names
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, run
from ..doctor.local_checks import check_base_url, check_keys, check_packages
from ..doctor.network_checks import check_callbacks, check_provider
from ..doctor.results import CheckResult
from ..doctor.store_checks import check_store
from ..doctor.surroundings import check_clock, check_proxies
from ..options.callbacks import DEFAULT_HOST, DEFAULT_PORT, CallbackOptions
from ..options.providers import (
    ProviderName,
    base_url_is_from_environment,
    base_url_option,
    check_base_url_option,
    create_provider,
)


@click.command()
@click.option(
    "--provider",
    "name",
    type=ProviderName(provider_names()),
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
    help="Also check that this store can be opened and written, and say how durable it is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per check, and nothing else.")
def doctor(  # noqa: PLR0917 - click calls it by name
    name: str | None,
    base_url: str | None,
    callback_url: str | None,
    callback_host: str,
    callback_port: int | None,
    store: str | None,
    as_json: bool,  # noqa: FBT001 - click's way
) -> None:
    """Check Python, packages, extras, API keys, proxies and the clock; with options a provider, callbacks, a store.

    Says what to do about each failure. Prints no key, submits no job and costs nothing.

    With --json each line is an object with "v" (the version, 1), "check" (packages, keys, proxy, clock, provider,
    callbacks or store), "ok" (true, false, or null for a remark), "text" and "advice" (or null).

    \b
      aiowatermark doctor --provider kaze --store jobs.db

    Exit status: 0 if all checks passed, 1 if one failed.
    """  # noqa: D301 - \b keeps click from rewrapping the example
    if name is None and base_url is not None and not base_url_is_from_environment():
        raise click.UsageError("--base-url has no use without --provider: nothing is asked of one")
    if name is not None:
        check_base_url_option(name, base_url)
    check_server = callback_url is not None or callback_port is not None
    callbacks = CallbackOptions(callback_url, callback_host, DEFAULT_PORT if callback_port is None else callback_port)

    async def work(stop: asyncio.Event) -> int:
        failed = 0
        async for check, result in _run_checks(name, base_url, callbacks if check_server else None, store):
            click.echo(result.json_line(check) if as_json else result.line)
            failed += result.ok is False
            if stop.is_set():
                return EXIT_SOME_FAILED
        if not as_json:
            click.echo(click.style(f"\n{failed} failed." if failed else "\nAll checks passed.", bold=True))
        return EXIT_SOME_FAILED if failed else EXIT_OK

    run(work)


async def _run_checks(
    name: str | None, base_url: str | None, callbacks: CallbackOptions | None, store: str | None
) -> AsyncIterator[tuple[str, CheckResult]]:
    """Yield the results, each with the name of its group."""
    for result in check_packages():
        yield "packages", result
    usable = True
    for result in check_keys(name):
        usable = usable and result.ok is not False
        yield "keys", result
    for result in check_base_url(name, base_url):
        if result.ok is False:
            usable, base_url = False, None
        yield "provider", result
    # without a usable key and address create_provider would exit, and the other checks would not run
    provider = create_provider(name, base_url) if name and usable else None
    asked = provider.base_url if provider is not None else base_url
    checks = [("proxy", check_proxies(asked))]
    checks += [("provider", check_provider(provider))] if provider is not None else []
    checks += [("callbacks", check_callbacks(callbacks, asked))] if callbacks else []
    checks += [("store", check_store(store))] if store else []
    if provider is None:
        yield "clock", check_clock()
    for check, results in checks:
        async for result in results:
            yield check, result
