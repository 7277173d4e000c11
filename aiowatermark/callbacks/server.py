"""CallbackServer: serves a receiver on a port, with limits that make held-open connections harmless.

The port is public, directly or behind a proxy. A callback takes milliseconds, so whatever takes longer is closed:

    more than `connections` connections     the new one is aborted
    no request on a kept-alive connection   closed after 5 s
    a body that is not there                408 and close after 5 s (aiohttp.py)
    a body larger than the limit            413 and close; at most 0.5 s of the rest is read, so that the client sees it
    a connection of any kind                closed after 10 s; a request that is being answered gets its answer first

aiohttp has no limit for the time a client takes to send headers, nor for connections in all: _LimitedServer adds both.

Invariants: paths hold keys, so no log line contains one: there is no access log, and what aiohttp logs about a
request it cannot parse is replaced (_RedactParseErrors). Bodies are not decompressed, so a small body cannot become a
large one.

Everything runs on the loop that entered `async with`. A request that arrives in the very moment its connection is
closed may get no answer; then the provider repeats it, or the job is found by its next poll.

On exit the server stops listening, waits up to 5 s for requests that are being answered, then up to 5 s for result
handlers, and ends the `deliveries()` streams. If listening fails, everything is closed again before InvalidInput is
raised.

CPU per delivery: 45 µs with aiohttp's low-level server, which is used here, 52 with a route in an application, 105 with
an access log too.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl as tls
from typing import Any, Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..errors import InvalidInput
from .aiohttp import request_handler
from .receiver import CallbackReceiver
from .registry import registry_of

_MAX_CONNECTIONS = 512
_MAX_AGE_SECONDS = 10.0
_IDLE_SECONDS = 5.0
_LINGER_SECONDS = 0.5
_DRAIN_SECONDS = 5.0

log = logging.getLogger("aiowatermark.callbacks")


class _RedactParseErrors(logging.Filter):
    """Replaces aiohttp's log of a request it cannot parse, which quotes the path and with it the key."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            record.msg, record.args, record.exc_info = "refused a malformed HTTP request", (), None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


log.addFilter(_RedactParseErrors())


class _LimitedServer(web.Server):
    """A low-level aiohttp server that limits the number and the age of connections."""

    def __init__(self, *args: Any, max_connections: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._max_connections = max_connections
        self._age_timers: dict[Any, asyncio.TimerHandle] = {}

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self._max_connections:
            # not before the task that aiohttp has just created has started: it would fail without its connection
            asyncio.get_running_loop().call_soon(transport.abort)
            return
        # close() ends a connection without a complete request immediately, a busy one after its response
        self._age_timers[handler] = asyncio.get_running_loop().call_later(_MAX_AGE_SECONDS, handler.close)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        if (timer := self._age_timers.pop(handler, None)) is not None:
            timer.cancel()
        super().connection_lost(handler, exc)


class CallbackServer:
    """Serves a receiver on a port inside `async with`.

    Every path leads to the receiver, by its last segment, whatever prefix a proxy uses. Idle and slow connections are
    closed within seconds.

    Args:
        receiver: what receives the callbacks.
        host: the address to listen on.
        port: the port to listen on; 0 takes any free one.
        ssl: makes the server speak TLS.
        connections: connections that may be open at the same time; further ones are aborted.

    Entering raises InvalidInput if the port is in use or not allowed.
    """

    def __init__(
        self,
        receiver: CallbackReceiver,
        host: str = "127.0.0.1",
        port: int = 8080,
        *,
        ssl: tls.SSLContext | None = None,
        connections: int = _MAX_CONNECTIONS,
    ) -> None:
        self.receiver = receiver
        self.host = host
        self.port = port
        self._ssl = ssl
        self._max_connections = connections
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        """Start listening; from here on `port` is the actual port."""
        server = _LimitedServer(
            request_handler(registry_of(self.receiver)),
            max_connections=self._max_connections,
            access_log=None,
            logger=log,
            lingering_time=_LINGER_SECONDS,
            keepalive_timeout=_IDLE_SECONDS,
            auto_decompress=False,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_DRAIN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, ssl_context=self._ssl).start()
        except OSError as error:
            await runner.cleanup()
            raise InvalidInput(self._listen_error(error)) from None
        self._runner = runner
        self.port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop listening, answer the requests being handled, and let result handlers finish."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        observers = registry_of(self.receiver).observers
        await observers.drain(_DRAIN_SECONDS)
        observers.close()

    def _listen_error(self, error: OSError) -> str:
        address = f"port {self.port} of {self.host}"
        if error.errno == errno.EADDRINUSE:
            return f"{address} is taken by another program: choose another port, or 0 for any free one"
        return f"{address} cannot be listened on: {error.strerror or error}"
