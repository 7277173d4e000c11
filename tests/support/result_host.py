"""A client of an API that has finished every job at once; a test serves the result."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

import aiowatermark as aw
from tests.support.http_server import Handler, serve_application

RESULT_PATH = "/results/clean.jpg"


@asynccontextmanager
async def result_client(handler: Handler, *, path: str = RESULT_PATH, **settings: Any) -> AsyncIterator[aw.Client]:
    """Yield a client whose results are served by `handler`, at `path`."""

    async def submit(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response(
            {"status": 200, "data": {"task_id": "t", "state": 1, "file": f"{request.url.origin()}{path}"}}
        )

    application = web.Application()
    application.router.add_post("/task/pic/watermark_auto", submit)
    application.router.add_get("/task/t", submit)
    application.router.add_get("/results/{tail:.*}", handler)
    async with (
        serve_application(application) as origin,
        aw.Client(aw.GptGe("canary-key", base_url=origin), **settings) as client,
    ):
        yield client


def serve(body: bytes, **headers: str) -> Handler:
    """Return a handler that answers 200 with this body; `_` in a header's name stands for `-`."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return handler


def serve_in_turn(*handlers: Handler) -> Handler:
    """Return a handler that answers each request as the next of these does, and then as the last one does."""
    remaining = list(handlers)

    async def handler(request: web.Request) -> web.StreamResponse:
        return await (remaining.pop(0) if len(remaining) > 1 else remaining[0])(request)

    return handler
