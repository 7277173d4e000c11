"""Options `--callback-url`, `--callback-host` and `--callback-port`: a callback server while a command runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import click
from attrs import frozen

from ... import CallbackReceiver, CallbackServer, Provider
from ..console.texts import say
from .providers import Command, exit_with_error

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

# the defaults are written into the help texts: None tells an option that was not given from one that was
_OPTIONS = (
    click.option(
        "--callback-url",
        metavar="URL",
        help="Public URL at which providers reach this machine, such as https://host/wm: for callbacks, and to serve "
        "files to providers that accept URLs only. Without it, jobs are polled.",
    ),
    click.option(
        "--callback-host",
        metavar="HOST",
        help=f"Address on which the callback server listens.  [default: {DEFAULT_HOST}]",
    ),
    click.option(
        "--callback-port",
        metavar="PORT",
        type=click.IntRange(0, 65535),
        help=f"Port on which it listens: the URL must lead there.  [default: {DEFAULT_PORT}]",
    ),
)


@frozen
class CallbackOptions:
    """Public URL for callbacks (None: polling only), and where the callback server listens."""

    url: str | None = None
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT

    @asynccontextmanager
    async def open(self, provider: Provider) -> AsyncIterator[CallbackReceiver | None]:
        """Run the callback server and yield its receiver; None without a URL or if the provider needs no server.

        Raises InvalidInput if the port is taken.
        """
        if self.url is None:
            yield None
            return
        capabilities = provider.capabilities
        # a provider without callbacks that takes URLs only still needs the server: it serves the files
        if not capabilities.callbacks and capabilities.files:
            say(
                f"Note: {provider.display_name} has no callbacks: --callback-url is ignored and jobs are polled.",
                err=True,
            )
            yield None
            return
        receiver = CallbackReceiver(self.url)
        async with CallbackServer(receiver, self.host, self.port):
            yield receiver


def callback_options(command: Command) -> Command:
    """Add the three options to a command, which receives them as one CallbackOptions named `callbacks`."""

    @wraps(command)
    def wrapper(
        *args: Any, callback_url: str | None, callback_host: str | None, callback_port: int | None, **kwargs: Any
    ) -> Any:
        return command(*args, callbacks=_parse(callback_url, callback_host, callback_port), **kwargs)

    # decorators apply bottom-up: reversed, so that --help lists the options in the order above
    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return wrapper  # type: ignore[return-value]


def _parse(url: str | None, host: str | None, port: int | None) -> CallbackOptions:
    if url is None and (host is not None or port is not None):
        exit_with_error("--callback-host and --callback-port require --callback-url: they say where its server listens")
    return CallbackOptions(url, host or DEFAULT_HOST, DEFAULT_PORT if port is None else port)
