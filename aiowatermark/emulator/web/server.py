"""Surfaces served: an aiohttp server on a socket of its own for each origin; its end waits for no stalled client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from attrs import define, field

from ..backend.threads import ThreadPool
from ..faults import Fault
from .fault_injection import FaultInjector
from .fault_queue import FaultQueue
from .routes import Endpoint, HttpSurface

# the largest documented picture is 50 MB; base64 and a mask make that some 160
_MAX_BODY = 160 << 20
_SHUTDOWN = 2.0


@define
class HttpServers:
    """Starts servers whose every route may be struck by faults."""

    faults: FaultQueue[Fault]
    file_pool: ThreadPool
    closing: asyncio.Event = field(factory=asyncio.Event)

    @asynccontextmanager
    async def serve(self, surfaces: Iterable[HttpSurface], host: str, port: int) -> AsyncIterator[str]:
        """One origin for these surfaces; gives it as `http://host:port`. Port 0 takes any that is free."""
        runner = web.AppRunner(self._application(surfaces), access_log=None, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=1024).start()
            yield _origin(host, runner.addresses[0][1])
        finally:
            self.closing.set()
            await runner.cleanup()
            # aiohttp cancels what is left of its connections and does not wait for that
            await asyncio.sleep(0)

    def _application(self, surfaces: Iterable[HttpSurface]) -> web.Application:
        application = web.Application(client_max_size=_MAX_BODY)
        for surface in surfaces:
            for route in surface.routes():
                struck = FaultInjector(Endpoint(surface, route, self.file_pool), self.faults, self.closing)
                application.router.add_route("*", route.path, struck.__call__)
        return application


def _origin(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
