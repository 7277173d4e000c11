"""Connections of the callback server: each carries one request; their number and their time are limited.

The port is public, so that any client may open connections, say nothing, or speak one byte a second. What a connection
is doing decides how long it may stay:

    TLS handshake                     10 s; cancelled first when room is needed
    no byte of a request yet          120 s: longer than the 90 s for which clients keep an unused connection
    a part of a request's head        10 s from its first byte
    a complete head                   until it is answered; bounded by the bridge (aiohttp.py)
    answered                          closed: every answer says "Connection: close"

When `max_connections` are open and another one comes, the oldest without a complete head gives way, silent or dripping:
the honest sender, who speaks at once, is always among the youngest. If all are being answered, the new one is closed.

Why no connection is kept alive: a server that closes idle connections at some age loses the requests that arrive in
that moment, and pooled clients hit that moment again and again. For the same reason a connection whose request has
arrived, even if only in the kernel's buffer, is never closed for its age or to make room.

Invariants: every open connection is either in `_waiting`, in the order of age, or in `_busy`. A transport is aborted
from a callback of its own, not from `connection_made`: aiohttp has created a task there that fails with a traceback
if its connection is gone before its first step.

Everything runs on the loop that entered `async with CallbackServer`. No timer is set per connection: one sweep a second
looks at the oldest.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import ssl as tls
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any

from aiohttp import web
from attrs import define

from ..lifetimes import start_task
from .throttle import ThrottledLog

_HANDSHAKE_SECONDS = 10.0
_SHUTDOWN_TLS_SECONDS = 2.0
_IDLE_SECONDS = 120.0
_HEAD_SECONDS = 10.0
_SWEEP_SECONDS = 1.0
BACKLOG = 4096
"""Connections that the kernel accepts in advance, so that a burst does not make it drop an honest one."""
_ACCEPTED_AT_ONCE = 16
"""Connections accepted before other tasks of the loop run."""
_RETRY_ACCEPT_SECONDS = 0.1

_END_OF_HEAD = b"\r\n\r\n"


class CallbackConnection(web.RequestHandler):
    """aiohttp's connection, which also tells its server what it receives."""

    __slots__ = ("_server",)

    def __init__(self, server: ConnectionLimiter, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._server = server

    def data_received(self, data: bytes) -> None:
        """Parse the data; the server takes the time of a request's head."""
        super().data_received(data)
        self._server.on_data(self, data)


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


@define(eq=False)
class _Waiting:
    """A connection without a complete head: when it was opened, when its first byte came, and its last bytes.

    `opening` is the task that makes a transport of the `accepted` socket. It is cancelled only during a TLS handshake,
    which takes its time: uvloop would close a connection that is open by then without a call to its protocol.
    """

    opened_at: float
    accepted: socket.socket | None = None
    opening: asyncio.Task[None] | None = None
    has_handshake: bool = False
    aborted: bool = False
    transport: asyncio.Transport | None = None
    spoke_at: float | None = None
    tail: bytes = b""

    def has_unread_data(self) -> bool:
        """Whether data is waiting in the kernel's buffer; a closed connection has none."""
        if self.transport is None:
            return False
        descriptor = self.transport.get_extra_info("socket").fileno()
        return descriptor >= 0 and _is_readable(descriptor)

    def is_overdue(self, now: float) -> bool:
        """Whether the connection has waited too long for its request."""
        if self.spoke_at is not None:
            return now - self.spoke_at > _HEAD_SECONDS
        return now - self.opened_at > _IDLE_SECONDS and not self.has_unread_data()

    def abort(self) -> None:
        """Close the connection, soon."""
        self.aborted = True
        if self.transport is not None:
            asyncio.get_running_loop().call_soon(self.transport.abort)
        elif self.opening is not None and self.has_handshake:
            self.opening.cancel()


class ConnectionLimiter(web.Server):
    """A low-level aiohttp server that accepts connections itself and limits their number and time."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        max_connections: int,
        log: ThrottledLog,
        **settings: Any,
    ) -> None:
        super().__init__(handler)
        self._max_connections = max_connections
        self._log = log
        self._settings = settings
        self._waiting: dict[web.RequestHandler, _Waiting] = {}
        self._busy: set[web.RequestHandler] = set()

    def __call__(self) -> web.RequestHandler:
        """Create the protocol of one connection."""
        # keepalive_timeout=0 turns aiohttp's own timer off: it does not look whether a request has just arrived
        return CallbackConnection(self, loop=asyncio.get_running_loop(), keepalive_timeout=0, **self._settings)

    @property
    def open_connections(self) -> int:
        """How many connections are open, TLS handshakes included."""
        return len(self._waiting) + len(self._busy)

    # opening

    async def accept(self, listener: socket.socket, ssl: tls.SSLContext | None) -> None:
        """Accept connections of a listening socket until cancelled."""
        for number in count(1):
            try:
                accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:  # no file descriptors left, or the peer is gone already
                self._log.log(logging.WARNING, "a connection cannot be accepted", error.strerror)
                await asyncio.sleep(_RETRY_ACCEPT_SECONDS)
                continue
            self._admit(accepted, ssl)
            if number % _ACCEPTED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _admit(self, accepted: socket.socket, ssl: tls.SSLContext | None) -> None:
        if self.open_connections >= self._max_connections and not self._abort_oldest():
            accepted.close()
            self._log.log(logging.INFO, "all connections are being answered; a new one was closed")
            return
        loop, protocol = asyncio.get_running_loop(), self()
        waiting = self._waiting[protocol] = _Waiting(loop.time(), accepted, has_handshake=ssl is not None)
        waiting.opening = start_task(self._open(protocol, waiting, accepted, ssl))
        waiting.opening.add_done_callback(lambda _: self._on_opened(protocol, waiting))

    async def _open(
        self, protocol: web.RequestHandler, waiting: _Waiting, accepted: socket.socket, ssl: tls.SSLContext | None
    ) -> None:
        waiting.accepted = None  # from here on it belongs to the transport
        limits = {"ssl_handshake_timeout": _HANDSHAKE_SECONDS, "ssl_shutdown_timeout": _SHUTDOWN_TLS_SECONDS}
        # an OSError here: not TLS, no common cipher, or too slow
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, accepted, ssl=ssl, **(limits if ssl else {})
            )

    def _on_opened(self, protocol: web.RequestHandler, waiting: _Waiting) -> None:
        if waiting.accepted is not None:  # cancelled before its first step
            waiting.accepted.close()
        if waiting.transport is None:  # the handshake failed
            self._waiting.pop(protocol, None)

    def _abort_oldest(self) -> bool:
        """Abort the oldest connection that waits; False if there is none."""
        for protocol, waiting in self._waiting.items():
            if not waiting.has_unread_data():
                del self._waiting[protocol]
                waiting.abort()
                return True
        return False

    # events of connections

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """The connection is open; it is the youngest of those that wait for a request."""
        super().connection_made(handler, transport)
        if (waiting := self._waiting.pop(handler, None)) is None or waiting.aborted:
            asyncio.get_running_loop().call_soon(transport.abort)  # its task runs its first step before that
            return
        waiting.opened_at, waiting.transport = asyncio.get_running_loop().time(), transport
        self._waiting[handler] = waiting

    def on_data(self, handler: web.RequestHandler, data: bytes) -> None:
        """Note the first byte of a request, and the end of its head."""
        if (waiting := self._waiting.get(handler)) is None:
            return
        received = waiting.tail + data
        if _END_OF_HEAD in received:
            del self._waiting[handler]
            self._busy.add(handler)
            return
        waiting.tail = received[1 - len(_END_OF_HEAD) :]
        if waiting.spoke_at is None:
            waiting.spoke_at = asyncio.get_running_loop().time()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """The connection is closed."""
        self._waiting.pop(handler, None)
        self._busy.discard(handler)
        super().connection_lost(handler, exc)

    # ending

    async def sweep(self) -> None:
        """Close connections that have waited too long, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for waiting in [each for each in self._waiting.values() if each.is_overdue(now)]:
                waiting.abort()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Close what waits for a request, and give the requests that have arrived `timeout` seconds."""
        for _ in range(2):  # one turn of the loop reads what has arrived, the next starts to answer it
            await asyncio.sleep(0)
        for waiting in list(self._waiting.values()):
            waiting.abort()
        await super().shutdown(timeout)
