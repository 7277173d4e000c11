"""`aiowatermark emulator`: the five APIs on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

import click

from ... import provider_class
from ...emulator import Emulator
from ..console.runner import DONE, run
from ..options.providers import refuse

Keys = Mapping[str, str | tuple[str, str]]


def _loopback(_: click.Context, __: click.Parameter, host: str) -> str:
    """Keys and pictures are nobody else's business: this machine only."""
    try:
        here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise click.BadParameter(f"{host} is not this machine's own: give 127.0.0.1, ::1 or localhost")
    return host


def _keys(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, str | tuple[str, str]]:
    keys: dict[str, str | tuple[str, str]] = {}
    for text in given:
        name, _equals, key = text.partition("=")
        app_key, colon, secret = key.partition(":")
        if not key or (name == "photoeraser") != bool(colon and app_key and secret):
            raise click.BadParameter("write NAME=KEY, or photoeraser=APP_KEY:APP_SECRET")
        keys[name] = (app_key, secret) if name == "photoeraser" else key
    return keys


@click.command()
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="By default any that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, callback=_loopback, help="Loopback addresses only.")
@click.option(
    "--mark",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The mark to find and undo: a PNG with a transparent background.",
)
@click.option(
    "--processing",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0),
    help="How long a job takes.",
)
@click.option("--keys", multiple=True, metavar="NAME=KEY", callback=_keys, help="A key of your own; others are random.")
def emulator(port: int, host: str, mark: Path | None, processing: float, keys: Keys) -> None:
    """Serve the five APIs on this machine until Ctrl-C, with keys to use. Nothing here costs money.

    Pictures come back clean where a mask is sent, or where the mark is known by --mark; else as they were.
    """

    async def work(stop: asyncio.Event) -> int:
        serving = _emulator(port, host, mark, processing, keys)
        try:
            await serving.__aenter__()
        except (OSError, ValueError) as error:
            refuse(f"the emulator cannot start on {host} port {port}: {getattr(error, 'strerror', None) or error}")
        try:
            click.echo(_start_text(serving, mark))
            await stop.wait()
        finally:
            await serving.__aexit__(None, None, None)
        click.echo(_charges_line(serving))
        return DONE

    run(work)


def _emulator(port: int, host: str, mark: Path | None, processing: float, keys: Keys) -> Emulator:
    try:
        return Emulator(host=host, port=port, mark=mark, processing=processing, keys=keys)
    except ValueError as error:
        refuse(str(error))


def _start_text(serving: Emulator, mark: Path | None) -> str:
    exports = [
        f"export {variable}={shlex.quote(key)}"
        for name, credential in sorted(serving.keys.items())
        for variable, key in zip(provider_class(name).env.values(), _texts(credential), strict=True)
    ]
    example = f"aiowatermark remove photo.jpg --provider kaze --base-url {serving.base_url} -o clean"
    example += "" if mark else " --mask mask.png"
    lines = ["The five APIs, on this machine only:", "", f"  {serving.base_url}", ""]
    lines += ["In another terminal:", "", *(f"  {text}" for text in (*exports, "", example))]
    return "\n".join([*lines, "", "Ctrl-C ends it."])


def _texts(credential: str | tuple[str, str]) -> tuple[str, ...]:
    return (credential,) if isinstance(credential, str) else credential


def _charges_line(serving: Emulator) -> str:
    charged = [
        f"{provider_class(name).display_name} {count}" for name, count in sorted(serving.charged.items()) if count
    ]
    return f"\nCharged, had it been real: {', '.join(charged) or 'nothing'}."
