"""Command `emulator`: serves the five emulated APIs on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import click

from ... import provider_class
from ...connection_errors import os_reason
from ...emulator import CallbackAttempt, Emulator, ServedRequest
from ...emulator.apis import APIS
from ...environment import BASE_URL_VARIABLE
from ..console.emulator_lines import callback_line, request_line
from ..console.runner import EXIT_OK, run
from ..console.texts import MAX_NAME, printable, terminal_columns
from ..options.emulator_state import apply_state, credits_option, fault_option, watch_callbacks
from ..options.providers import exit_with_error, no_base_url_option

Keys = Mapping[str, str | tuple[str, str]]


def _check_loopback(_: click.Context, __: click.Parameter, host: str) -> str:
    """Refuse addresses that other machines can reach: the emulator prints its keys and serves unencrypted HTTP."""
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise click.BadParameter(f"must be a loopback address such as 127.0.0.1, ::1 or localhost, not {host}")
    return host


def _parse_keys(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> dict[str, str | tuple[str, str]]:
    keys: dict[str, str | tuple[str, str]] = {}
    for text in texts:
        name, _equals, key = text.partition("=")
        app_key, colon, secret = key.partition(":")
        # a colon is required for Photo Eraser and not allowed elsewhere
        if not key or (name == "photoeraser") != bool(colon and app_key and secret):
            raise click.BadParameter(f"must be NAME=KEY, or photoeraser=APP_KEY:APP_SECRET, not {text}")
        if name in keys:
            raise click.BadParameter(f"{name} is given twice: each API of the emulator has one key")
        keys[name] = (app_key, secret) if name == "photoeraser" else key
    return keys


@click.command()
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port to listen on.  [default: any that is free]"
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    callback=_check_loopback,
    help="Address to listen on; only loopback addresses are allowed.",
)
@click.option(
    "--mark",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Watermark to find and remove: a PNG with a transparent background; another image is refused.",
)
@click.option(
    "--processing",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0),
    help="How long each job takes.",
)
@click.option(
    "--keys",
    multiple=True,
    metavar="NAME=KEY",
    callback=_parse_keys,
    help="API key to accept for provider NAME; may be given once for each.  [default: the same keys at every start]",
)
@credits_option
@fault_option
@click.option("--quiet", is_flag=True, help="Do not print the requests.")
@no_base_url_option("the emulator is what other commands send requests to; --host and --port say where it listens")
def emulator(  # noqa: PLR0917 - click calls it by name
    port: int,
    host: str,
    mark: Path | None,
    processing: float,
    keys: Keys,
    credits_left: float | None,
    faults: Sequence[tuple[str, str]],
    quiet: bool,  # noqa: FBT001 - click's way
) -> None:
    """Serve the APIs of all five providers on this machine until Ctrl-C. Nothing costs money.

    It prints the base URL and the API keys to use, and then a line for each request: method, path, status, job,
    charges if there are any, milliseconds; and one for each callback that it sends. A line that does not fit the
    terminal is shortened. Watermarks are really removed if a job has
    a mask, or if --mark is given; other images come back unchanged.

    \b
      aiowatermark emulator --port 8700 --mark logo.png
    """  # noqa: D301 - \b keeps click from rewrapping the example

    async def work(stop: asyncio.Event) -> int:
        server = _create_emulator(port, host, mark, processing, keys, None if quiet else _print_request)
        await _start(server, mark)
        callbacks = asyncio.create_task(watch_callbacks(server, _print_nothing if quiet else _print_callback))
        try:
            apply_state(server, credits_left, faults)
            click.echo(_start_text(server, mark))
            await stop.wait()
        finally:
            callbacks.cancel()
            await server.__aexit__(None, None, None)
        click.echo(_charges_line(server))
        return EXIT_OK

    run(work)


def _create_emulator(  # noqa: PLR0917 - the options in order
    port: int,
    host: str,
    mark: Path | None,
    processing: float,
    keys: Keys,
    on_request: Callable[[ServedRequest], None] | None,
) -> Emulator:
    try:
        return Emulator(
            host=host,
            port=port,
            mark=None if mark is None else _read_mark(mark),
            processing=processing,
            keys={**_fixed_keys(), **keys},
            on_request=on_request,
        )
    except ValueError as error:
        exit_with_error(str(error))


async def _start(server: Emulator, mark: Path | None) -> None:
    """Start serving; print an error and exit if the port or the mark cannot be used."""
    try:
        await server.__aenter__()
    except OSError as error:
        where = f"{server.address} port {server.port}"
        exit_with_error(f"the emulator cannot listen on {where}: {os_reason(error) or error}")
    except ValueError as error:
        exit_with_error(f"--mark {printable(str(mark), MAX_NAME)}: {error}")


def _read_mark(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        exit_with_error(f"--mark {printable(str(path), MAX_NAME)} cannot be read: {error.strerror}")


def _fixed_keys() -> dict[str, str | tuple[str, str]]:
    """Return a key for each API, the same at every start, so that what was exported before still works."""
    return {
        name: (f"local-{name}-a1b2c3d4e5", f"local-{name}-f6a7b8c9d0") if api.has_secret else f"local-{name}-a1b2c3d4e5"
        for name, api in APIS.items()
    }


def _print_request(request: ServedRequest) -> None:
    _print_line(request_line(request, terminal_columns(sys.stdout)))


def _print_callback(attempt: CallbackAttempt, url: str) -> None:
    _print_line(callback_line(attempt, url, terminal_columns(sys.stdout)))


def _print_line(text: str) -> None:
    # the reader of the lines may have gone: clients are served all the same
    with suppress(OSError):
        click.echo(text)


def _print_nothing(_: CallbackAttempt, __: str) -> None:
    """Print nothing."""


def _start_text(server: Emulator, mark: Path | None) -> str:
    """Return the URL, and lines that can be pasted into another terminal."""
    exports = [f"export {BASE_URL_VARIABLE}={server.base_url}"]
    exports += [
        f"export {variable}={shlex.quote(key)}"
        for name, credential in sorted(server.keys.items())
        for variable, key in zip(provider_class(name).env.values(), _as_tuple(credential), strict=True)
    ]
    example = "aiowatermark remove photo.jpg --provider kaze -o clean"
    example += "" if mark else " --mask mask.png"
    lines = ["The five emulated APIs are served at", "", f"  {server.base_url}", ""]
    lines += ["In another terminal, set the address and the keys:", "", *(f"  {text}" for text in exports), ""]
    lines += ["Then use any provider, for example:", "", f"  {example}", ""]
    return "\n".join([*lines, "Press Ctrl-C to stop."])


def _as_tuple(credential: str | tuple[str, str]) -> tuple[str, ...]:
    return (credential,) if isinstance(credential, str) else credential


def _charges_line(server: Emulator) -> str:
    charges = [
        f"{provider_class(name).display_name} {count}" for name, count in sorted(server.charged.items()) if count
    ]
    return f"\nStopped. The real providers would have charged for: {', '.join(charges) or 'nothing'}."
