"""Serves a handler or an application of aiohttp on a free port of 127.0.0.1."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import web

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def free_port() -> int:
    """Return a port that nothing listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def serve_application(application: web.Application) -> AsyncIterator[str]:
    """Serve an application; yields its URL without a path."""
    # handlers that never return are cancelled when the test ends
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_handler(handler: Handler) -> AsyncIterator[str]:
    """Serve a handler that answers every request, whatever its method and path; yields its URL without a path."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    async with serve_application(application) as url:
        yield url
