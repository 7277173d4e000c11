"""CallbackServer: serves a receiver on a port, with limits that make hostile connections harmless.

The port is public, directly or behind a proxy. connections.py limits the number and the time of connections, aiohttp.py
what a request may cost.

Invariants: paths hold keys, so no log line contains one: there is no access log, and what aiohttp logs about a
request it cannot parse is replaced by a count (_RedactParseErrors). Bodies are not decompressed by aiohttp, so a small
body cannot become a large one.

Everything runs on the loop that entered `async with`. On exit the server stops listening, waits up to 5 s for requests
that are being answered, then up to half a minute for result handlers, and ends the `deliveries()` streams. If listening
fails, everything is closed again before InvalidInput is raised.

CPU per delivery, each on a connection of its own: as a bare aiohttp route that closes, see benchmarks/callbacks.py.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl as tls
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, Self

from aiohttp.http_exceptions import HttpProcessingError

from ..connection_errors import os_reason
from ..errors import InvalidInput
from ..lifetimes import Lifetime, start_task
from ..misuse import AsyncOnly
from .aiohttp import request_handler
from .connections import BACKLOG, ConnectionLimiter
from .observers import HANDLER_SECONDS
from .receiver import CallbackReceiver
from .registry import registry_of
from .throttle import ThrottledLog

_MAX_CONNECTIONS = 512
_DRAIN_SECONDS = 5.0

log = logging.getLogger("aiowatermark.callbacks")
hostile_input = ThrottledLog(log)


class _RedactParseErrors(logging.Filter):
    """Replaces aiohttp's log of a request it cannot parse, which quotes the path and with it the key."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            hostile_input.log(logging.INFO, "refused a malformed HTTP request")
            return False
        return True


log.addFilter(_RedactParseErrors())


class CallbackServer(AsyncOnly):
    """Serves a receiver on a port inside `async with`.

    Every path leads to the receiver, by its last segment, whatever prefix a proxy uses. A connection carries one
    request; slow ones are closed within seconds, silent ones when there is no room for others, or after two minutes.

    Args:
        receiver: what receives the callbacks.
        host: the address to listen on.
        port: the port to listen on; 0 takes any free one.
        ssl: makes the server speak TLS.
        connections: connections that may be open at the same time; for a further one the oldest that has not sent a
            request is closed.

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
        self._lifetime = Lifetime("the callback server")
        self._connections: ConnectionLimiter | None = None

    async def __aenter__(self) -> Self:
        """Start listening; from here on `port` is the actual port."""
        self._connections = await self._lifetime.open(self._open)
        return self

    async def _open(self, stack: AsyncExitStack) -> ConnectionLimiter:
        connections = ConnectionLimiter(
            request_handler(registry_of(self.receiver)),
            max_connections=self._max_connections,
            log=hostile_input,
            access_log=None,
            logger=log,
            lingering_time=0.0,
            auto_decompress=False,
        )
        async with AsyncExitStack() as opening:
            opening.push_async_callback(connections.shutdown, _DRAIN_SECONDS)
            listeners = await self._listen(connections, opening)
            for coroutine in (connections.sweep(), *(connections.accept(each, self._ssl) for each in listeners)):
                _run_until_exit(coroutine, opening)
            stack.push_async_callback(self._end_handlers)  # not if listening fails: the receiver stays usable
            stack.push_async_callback(opening.pop_all().aclose)
        return connections

    async def _end_handlers(self) -> None:
        """Let result handlers finish, and end the streams of deliveries."""
        observers = registry_of(self.receiver).observers
        await observers.drain(HANDLER_SECONDS)
        observers.close()

    async def __aexit__(self, *exc: object) -> None:
        """Stop listening, answer the requests being handled, and let result handlers finish."""
        self._connections = None
        await self._lifetime.close()

    async def _listen(self, connections: ConnectionLimiter, stack: AsyncExitStack) -> list[socket.socket]:
        """Listen on all addresses of the host; raises InvalidInput if that is not possible."""
        create_server = asyncio.get_running_loop().create_server
        try:
            bound = await create_server(connections, self.host, self.port, start_serving=False)
        except OSError as error:
            raise InvalidInput(self._listen_error(error)) from None
        stack.callback(bound.close)
        self.port = bound.sockets[0].getsockname()[1]
        # the connection limiter accepts by itself: asyncio would accept any number, and any number of TLS handshakes
        listeners = [stack.enter_context(each.dup()) for each in bound.sockets]
        for listener in listeners:
            listener.listen(BACKLOG)
        return listeners

    def _listen_error(self, error: OSError) -> str:
        address = f"port {self.port} of {self.host}"
        if error.errno == errno.EADDRINUSE:
            return f"{address} is taken by another program: choose another port, or 0 for any free one"
        return f"{address} cannot be listened on: {os_reason(error) or error}"


def _run_until_exit(coroutine: Coroutine[Any, Any, None], stack: AsyncExitStack) -> None:
    """Run a coroutine in a task that ends with the stack."""
    task = start_task(coroutine)

    async def cancel() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(cancel)
