"""HTTP servers: one aiohttp server per origin, each route behind fault injection; closing ends stalled responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from attrs import define, field

from ...lifetimes import finish
from ..backend.threads import ThreadPool
from ..faults import Fault
from .fault_injection import FaultInjector
from .fault_queue import FaultQueue
from .index import add_pages
from .request_log import RequestObserver, request_log
from .routes import Endpoint, HttpSurface

# the largest image any document allows is 50 MB; as base64 and with a mask of the same size, a body of about 160 MB
_MAX_BODY_BYTES = 160 << 20
_SHUTDOWN_SECONDS = 2.0


@define
class HttpServers:
    """Starts servers; each of their routes can be affected by injected faults; `on_request` is called with requests."""

    faults: FaultQueue[Fault]
    file_pool: ThreadPool
    on_request: RequestObserver | None = None
    closing: asyncio.Event = field(factory=asyncio.Event)

    @asynccontextmanager
    async def serve(
        self, surfaces: Iterable[HttpSurface], host: str, port: int, page: Callable[[], str]
    ) -> AsyncIterator[str]:
        """Serve these surfaces on one origin, given as `http://host:port`, and `page` at `/`.

        Port 0 selects a free port.
        """
        application = self._build_application(surfaces)
        add_pages(application, page)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            # tests open hundreds of connections in the same moment; aiohttp's default backlog is 128
            # asyncio forgets a server whose start is cancelled, and leaves its socket open
            await finish(web.TCPSite(runner, host, port, backlog=1024).start())
            yield _origin(host, runner.addresses[0][1])
        finally:
            await finish(self._stop(runner))

    async def _stop(self, runner: web.AppRunner) -> None:
        # first, so that stalled and slow responses end now instead of after the shutdown timeout
        self.closing.set()
        await runner.cleanup()
        # aiohttp cancels the handlers of its remaining connections without waiting for them
        await asyncio.sleep(0)

    def _build_application(self, surfaces: Iterable[HttpSurface]) -> web.Application:
        middlewares = [request_log(self.on_request)] if self.on_request is not None else []
        application = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=middlewares)
        for surface in surfaces:
            for route in surface.routes():
                injector = FaultInjector(Endpoint(surface, route, self.file_pool), self.faults, self.closing)
                # any method: aiohttp's own 405 would not have the shape of the provider's errors
                application.router.add_route("*", route.path, injector.__call__)
        return application


def _origin(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
