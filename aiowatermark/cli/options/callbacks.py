"""A callback server for as long as a command runs: `--callback-url`, `--callback-host`, `--callback-port`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, TypeVar

import click
from attrs import frozen

from ... import CallbackReceiver, CallbackServer, Provider
from .providers import refuse

Command = TypeVar("Command", bound=Callable[..., Any])
PORT = 8080

_OPTIONS = (
    click.option("--callback-url", metavar="URL", help="Where providers reach this machine, like https://host/wm."),
    click.option("--callback-host", metavar="HOST", help="Where the callback server listens.  [default: 127.0.0.1]"),
    click.option(
        "--callback-port",
        metavar="PORT",
        type=click.IntRange(0, 65535),
        help=f"The port to which the URL leads.  [default: {PORT}]",
    ),
)


@frozen
class CallbackOptions:
    """Where providers reach us, and where we listen for them; no URL: nowhere."""

    url: str | None = None
    host: str = "127.0.0.1"
    port: int = PORT

    @asynccontextmanager
    async def open(self, provider: Provider) -> AsyncIterator[CallbackReceiver | None]:
        """A receiver, listening, where the provider has a use for one; raises InvalidInput for a port that is taken."""
        if self.url is None:
            yield None
            return
        takes = provider.capabilities
        if not takes.callbacks and takes.files:
            click.echo(
                f"Note: {provider.display_name} calls nobody back, it is asked: --callback-url is not needed.", err=True
            )
            yield None
            return
        receiver = CallbackReceiver(self.url)
        async with CallbackServer(receiver, self.host, self.port):
            yield receiver


def callback_options(command: Command) -> Command:
    """The three options, as one `callbacks`."""

    @wraps(command)
    def called(
        *given: Any, callback_url: str | None, callback_host: str | None, callback_port: int | None, **others: Any
    ) -> Any:
        return command(*given, callbacks=_check_options(callback_url, callback_host, callback_port), **others)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called  # type: ignore[return-value]


def _check_options(url: str | None, host: str | None, port: int | None) -> CallbackOptions:
    if url is None and (host is not None or port is not None):
        refuse("--callback-host and --callback-port are where the server behind --callback-url listens: give that, too")
    return CallbackOptions(url, host or "127.0.0.1", PORT if port is None else port)
