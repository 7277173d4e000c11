"""The embedded server: the receiver on a port of its own, closed to whoever only holds connections open."""

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


class _RedactParseErrors(logging.Filter):
    """aiohttp logs what it cannot parse as it came; a path may hold a key, so only the fact is kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            record.msg, record.args, record.exc_info = "a request that is no HTTP was refused", (), None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


log = logging.getLogger("aiowatermark.callbacks")
log.addFilter(_RedactParseErrors())

_MAX_CONNECTIONS = 512
_MAX_AGE = 10.0
_IDLE_SECONDS = 5.0
_LINGER = 0.5
_DRAIN_SECONDS = 5.0


class _LimitedServer(web.Server):
    """Counts connections and lets none grow old: a callback takes milliseconds."""

    def __init__(self, *args: Any, connections_cap: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._cap = connections_cap
        self._ages: dict[Any, asyncio.TimerHandle] = {}

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > self._cap:
            transport.abort()
            return
        # close() ends an idle or a dripping connection now, a busy one behind its answer
        self._ages[handler] = asyncio.get_running_loop().call_later(_MAX_AGE, handler.close)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        if (timer := self._ages.pop(handler, None)) is not None:
            timer.cancel()
        super().connection_lost(handler, exc)


class CallbackServer:
    """Serves a receiver at `host`:`port` (0: any free one) inside `async with`; `ssl` makes it speak TLS.

    Any path leads to the receiver, by its last segment: whatever a proxy puts before it. There is no access log:
    paths hold keys. Idle, dripping and surplus connections (`connections`) are closed within seconds. Raises
    InvalidInput that names the port where it is taken or not allowed.
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
        self._cap = connections
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen; `port` is the real one from here on."""
        server = _LimitedServer(
            request_handler(self.receiver),
            connections_cap=self._cap,
            access_log=None,
            logger=log,
            lingering_time=_LINGER,
            keepalive_timeout=_IDLE_SECONDS,
            auto_decompress=False,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_DRAIN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, ssl_context=self._ssl).start()
        except OSError as error:
            await runner.cleanup()
            raise InvalidInput(self._refusal(error)) from None
        self._runner = runner
        self.port = runner.addresses[0][1]
        return self

    def _refusal(self, error: OSError) -> str:
        where = f"port {self.port} of {self.host}"
        if error.errno == errno.EADDRINUSE:
            return f"{where} is taken by another program: choose another port, or 0 for any free one"
        return f"{where} cannot be listened on: {error.strerror or error}"

    async def __aexit__(self, *exc: object) -> None:
        """Take no more, answer what is under way, let handlers finish."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        await self.receiver.observers.drain(_DRAIN_SECONDS)
        self.receiver.observers.close()
