"""The receiver's door to aiohttp: one handler, and the routes and lifetime of an application it is mounted in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from ..errors import InvalidInput
from ..media.base import Media
from ..wire import Delivery
from .routes import content_type, key_from_path

if TYPE_CHECKING:
    from .receiver import CallbackReceiver

_BODY_SECONDS = 5.0
_DRAIN_SECONDS = 5.0


def request_handler(receiver: CallbackReceiver) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Answers POST with the receiver's word and GET with what was lent; reads no more than it may, and not for long."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        key = key_from_path(request.path)
        if request.method == "POST":
            return await _receive(receiver, key, request)
        media = receiver.lent_media(key)
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "POST"})
        return web.Response(status=404) if media is None else await _serve_media(request, media)

    return answer


async def _receive(receiver: CallbackReceiver, key: str, request: web.BaseRequest) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _read_body(request, receiver.body_limit)
    except TimeoutError:
        return _force_close(web.Response(status=408))
    except (ValueError, web.RequestPayloadError):
        return _force_close(web.Response(status=400))
    status = await receiver.receive(key, Delivery(body, request.content_type))
    return web.Response(status=status) if status != 413 else _force_close(web.Response(status=413))


async def _read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The body, or as much of it as shows that it is too large."""
    body = b""
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            break
    return body


def _force_close(response: web.Response) -> web.Response:
    """An answer after which nothing more is read from this connection."""
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


def setup(receiver: CallbackReceiver, app: web.Application, path: str) -> None:
    """Mount the receiver below `path`; handlers are drained when the application is cleaned up."""
    if not path.startswith("/"):
        raise InvalidInput(f"path is the part of the public URL behind the host, like /wm, not {path!r}")
    answer = request_handler(receiver)
    app.router.add_route("*", path.rstrip("/") + "/{key}", answer)
    app.router.add_route("*", path.rstrip("/") + "/{key}/{name}", answer)

    async def cleanup(_: web.Application) -> None:
        await receiver.observers.drain(_DRAIN_SECONDS)
        receiver.observers.close()

    app.on_cleanup.append(cleanup)
