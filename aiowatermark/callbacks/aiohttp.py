"""The bridge from aiohttp to the receiver: one request handler, and its routes and cleanup in an application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from ..errors import InvalidInput
from ..media.base import Media
from ..wire import Delivery
from .registry import CallbackRegistry
from .routes import content_type, key_from_path

_BODY_SECONDS = 5.0
"""Seconds a client may take to send its body."""
_DRAIN_SECONDS = 5.0
"""Seconds result handlers may take when the application is cleaned up."""


def request_handler(registry: CallbackRegistry) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Return a handler that passes POSTs to the receiver and serves lent media on GET and HEAD.

    It reads no more than the receiver's `body_limit` and waits at most 5 s for a body: 413, 408 or 400 otherwise.
    """

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        key = key_from_path(request.path)
        if request.method == "POST":
            return await _receive(registry, key, request)
        media = registry.served_media(key)
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "POST"})
        return web.Response(status=404) if media is None else await _serve_media(request, media)

    return respond


def setup(registry: CallbackRegistry, app: web.Application, path: str) -> None:
    """Add the receiver's routes below `path`, and drain its result handlers when the application is cleaned up.

    Raises InvalidInput for a path that does not start with a slash.
    """
    if not path.startswith("/"):
        raise InvalidInput(f"path must start with a slash, such as /wm, not {path!r}: give the public URL's path")
    respond = request_handler(registry)
    app.router.add_route("*", path.rstrip("/") + "/{key}", respond)
    app.router.add_route("*", path.rstrip("/") + "/{key}/{name}", respond)

    async def cleanup(_: web.Application) -> None:
        await registry.observers.drain(_DRAIN_SECONDS)
        registry.observers.close()

    app.on_cleanup.append(cleanup)


async def _receive(registry: CallbackRegistry, key: str, request: web.BaseRequest) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _read_body(request, registry.body_limit)
    except TimeoutError:
        return _force_close(web.Response(status=408))
    except (ValueError, web.RequestPayloadError):
        return _force_close(web.Response(status=400))
    status = await registry.receive(key, Delivery(body, request.content_type))
    return web.Response(status=status) if status != 413 else _force_close(web.Response(status=413))


async def _read_body(request: web.BaseRequest, limit: int) -> bytes:
    """Return the body, or, if that is larger than `limit`, a little more than `limit` bytes of it."""
    body = b""
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            break
    return body


def _force_close(response: web.Response) -> web.Response:
    """Close the connection after the response, so that the rest of the body is not read."""
    response.force_close()
    return response


async def _serve_media(request: web.BaseRequest, media: Media) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type(media)})
    response.content_length = media.size
    await response.prepare(request)
    if request.method == "GET":
        async for block in media.blocks():
            await response.write(block)
    await response.write_eof()
    return response
