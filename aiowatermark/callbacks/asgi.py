"""The bridge from ASGI to the receiver: a plain ASGI application that imports no framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from ..wire import Delivery
from .registry import CallbackRegistry
from .routes import asgi_headers, key_from_path

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_BODY_SECONDS = 5.0
"""Seconds a client may take to send its body."""
_DRAIN_SECONDS = 5.0
"""Seconds result handlers may take when the application shuts down."""


def asgi_app(registry: CallbackRegistry) -> AsgiApp:
    """Return an application that passes POSTs to the receiver and serves lent media on GET and HEAD."""

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(registry, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            await _respond(registry, scope, receive, send)

    return app


async def _lifespan(registry: CallbackRegistry, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            await registry.observers.drain(_DRAIN_SECONDS)
            registry.observers.close()
            return


async def _respond(registry: CallbackRegistry, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    key = key_from_path(scope["path"])
    media = registry.served_media(key)
    if scope["method"] in {"GET", "HEAD"} and media is not None:
        await send({"type": "http.response.start", "status": 200, "headers": asgi_headers(media)})
        if scope["method"] == "GET":
            async for block in media.blocks():
                await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    status = 404 if scope["method"] in {"GET", "HEAD"} else 405
    if scope["method"] == "POST":
        status = await _receive(registry, key, dict(scope["headers"]), receive)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _receive(registry: CallbackRegistry, key: str, headers: dict[bytes, bytes], receive: Receive) -> int:
    """Read the body, up to a little more than the limit, and return the status to respond with."""
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return 400
                body += message.get("body", b"")
                if len(body) > registry.body_limit or not message.get("more_body", False):
                    break
    except TimeoutError:
        return 408
    return await registry.receive(key, Delivery(body, headers.get(b"content-type", b"").decode("latin-1")))
