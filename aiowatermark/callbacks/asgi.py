"""The bridge from ASGI to the receiver: a plain ASGI application that imports no framework.

As in the aiohttp bridge, every answer over HTTP/1 closes its connection, and the body of a stranger is not read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any, TypeAlias

from ..errors import WatermarkError
from ..wire import Delivery
from .lent import MAX_READERS, PIECE_SECONDS, LentMedia
from .observers import HANDLER_SECONDS
from .registry import CallbackRegistry, KnownKey
from .routes import key_from_path

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger("aiowatermark.callbacks")

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
            await registry.observers.drain(HANDLER_SECONDS)
            registry.observers.close()
            return


async def _respond(registry: CallbackRegistry, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    key, method = key_from_path(scope["path"]), scope["method"]
    is_read = method in {"GET", "HEAD"}
    if is_read and (lent := registry.served_media(key)) is not None:
        await _serve_media(scope, lent, send)
        return
    status, headers = 405, {"Allow": "GET, HEAD, POST"}
    if is_read or method == "POST":
        known, headers = await registry.look_up(key), {}
        if known is None:
            status = 404 if is_read else registry.refuse()
        else:
            status = 200 if is_read else await _receive(registry, known, scope, receive)
    await _start(scope, send, status, {**headers, "Content-Length": "0"})
    await send({"type": "http.response.body", "body": b""})


async def _start(scope: MutableMapping[str, Any], send: Send, status: int, headers: Mapping[str, str]) -> None:
    if str(scope.get("http_version", "1.1")).startswith("1"):  # HTTP/2 knows no such header
        headers = {**headers, "Connection": "close"}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _receive(
    registry: CallbackRegistry, known: KnownKey, scope: MutableMapping[str, Any], receive: Receive
) -> int:
    """Read the body, up to a little more than the limit, and return the status to respond with."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _read_body(receive, registry.body_limit)
    except TimeoutError:
        return 408
    if body is None:
        return 400
    delivery = Delivery(body, _header(scope, b"content-type"), _header(scope, b"content-encoding"))
    return await registry.deliver(known, delivery)


async def _read_body(receive: Receive, limit: int) -> bytes | None:
    """Return the body, or a little more than `limit` bytes of it; None if the client disconnected before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limit or not message.get("more_body", False):
            return bytes(body)


def _header(scope: MutableMapping[str, Any], name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def _serve_media(scope: MutableMapping[str, Any], lent: LentMedia, send: Send) -> None:
    if lent.readers >= MAX_READERS:
        await _start(scope, send, 429, {"Retry-After": "1", "Content-Length": "0"})
        await send({"type": "http.response.body", "body": b""})
        return
    plan = lent.plan_response(_header(scope, b"range"), conditional=bool(_header(scope, b"if-range")))
    await _start(scope, send, plan.status, plan.headers)
    lent.readers += 1
    try:
        if scope["method"] == "GET":
            async with aclosing(lent.pieces(plan)) as pieces:
                async for piece in pieces:
                    async with asyncio.timeout(PIECE_SECONDS):
                        await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except (TimeoutError, OSError, WatermarkError) as error:
        # the file has become unreadable, or the peer does not read; the server closes a response that is not complete
        log.info("a lent file was not served to its end: %s", type(error).__name__)
    finally:
        lent.readers -= 1
