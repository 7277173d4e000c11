"""The receiver's door to aiohttp: one handler, and the routes and lifetime of an application it is mounted in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from ..errors import InvalidInput
from ..media.base import Media
from ..wire import Delivery
from .routes import content_type, key_of

if TYPE_CHECKING:
    from .receiver import CallbackReceiver

_BODY_TIME = 5.0
_DRAIN = 5.0


def handler(receiver: CallbackReceiver) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Answers POST with the receiver's word and GET with what was lent; reads no more than it may, and not for long."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        key = key_of(request.path)
        if request.method == "POST":
            return await _delivered(receiver, key, request)
        media = receiver.borrowed(key)
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "POST"})
        return web.Response(status=404) if media is None else await _lent(request, media)

    return answer


async def _delivered(receiver: CallbackReceiver, key: str, request: web.BaseRequest) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_BODY_TIME):
            body = await _body(request, receiver.body_limit)
    except TimeoutError:
        return _closing(web.Response(status=408))
    except (ValueError, web.RequestPayloadError):
        return _closing(web.Response(status=400))
    status = await receiver.receive(key, Delivery(body, request.content_type))
    return web.Response(status=status) if status != 413 else _closing(web.Response(status=413))


async def _body(request: web.BaseRequest, limit: int) -> bytes:
    """The body, or as much of it as shows that it is too large."""
    body = b""
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            break
    return body


def _closing(response: web.Response) -> web.Response:
    """An answer after which nothing more is read from this connection."""
    response.force_close()
    return response


async def _lent(request: web.BaseRequest, media: Media) -> web.StreamResponse:
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
        msg = f"path is the part of the public URL behind the host, like /wm, not {path!r}"
        raise InvalidInput(msg)
    answer = handler(receiver)
    app.router.add_route("*", path.rstrip("/") + "/{key}", answer)
    app.router.add_route("*", path.rstrip("/") + "/{key}/{name}", answer)

    async def cleanup(_: web.Application) -> None:
        await receiver.audience.drained(_DRAIN)
        receiver.audience.end()

    app.on_cleanup.append(cleanup)
