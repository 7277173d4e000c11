"""The bridge from aiohttp to the receiver: one request handler, and its routes and cleanup in an application.

Every answer closes its connection: a server that keeps one open until some limit hangs up on requests that are just
arriving, and each of these is a lost callback.

What comes from a stranger, that is without a known key, costs one lookup of its key: its headers are not parsed, its
body is neither read nor decompressed (an application would go on decompressing what it reads to the end), and its
connection is aborted after the answer if a body was announced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..errors import InvalidInput, WatermarkError
from ..wire import Delivery
from .lent import MAX_READERS, PIECE_SECONDS, LentMedia
from .observers import HANDLER_SECONDS
from .registry import CallbackRegistry, KnownKey, ReceivedRequest
from .routes import key_from_path

log = logging.getLogger("aiowatermark.callbacks")

_BODY_SECONDS = 5.0
"""Seconds a client may take to send its body."""
_DRAIN_SECONDS = 5.0
"""Seconds result handlers may take when the application is cleaned up."""
_LINGER_SECONDS = 0.5
"""Seconds in which the rest of a body that was refused is read, so that its sender sees the answer."""


def request_handler(registry: CallbackRegistry) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Return a handler that passes POSTs to the receiver and serves lent media on GET and HEAD.

    A GET or HEAD of a live callback URL is answered 200 and does nothing: providers check addresses that way. It reads
    no more than the receiver's `body_limit` and waits at most 5 s for a body: 413, 408 or 400 otherwise.
    """

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        key = key_from_path(request.path)
        if request.method == "POST":
            known = await registry.look_up(key)
            if known is None:
                return await _refuse(request, registry.refuse())
            return await _receive(registry, known, request)
        if registry.on_request is not None:
            await _note_other_request(registry, key, request)
        if request.method not in {"GET", "HEAD"}:
            return await _refuse(request, 405, {"Allow": "GET, HEAD, POST"})
        if (lent := registry.served_media(key)) is not None:
            return await _serve_media(request, lent)
        return await _refuse(request, 404 if await registry.look_up(key) is None else 200)

    return respond


def setup(registry: CallbackRegistry, app: web.Application, path: str) -> None:
    """Add the receiver's routes below `path`, and drain its result handlers when the application is cleaned up.

    Raises InvalidInput for a path that does not start with a slash.
    """
    if not path.startswith("/"):
        raise InvalidInput(f"path must start with a slash, such as /wm, not {path!r}: give the public URL's path")
    respond = request_handler(registry)
    for route in ("/{key}", "/{key}/", "/{key}/{name}"):
        app.router.add_route("*", path.rstrip("/") + route, respond, expect_handler=_expect_nothing_yet)

    async def cleanup(_: web.Application) -> None:
        await registry.observers.drain(HANDLER_SECONDS)
        registry.observers.close()

    app.on_cleanup.append(cleanup)


async def _expect_nothing_yet(_: web.Request) -> None:
    """In place of aiohttp's answer to "Expect: 100-continue", which would invite strangers to send their bodies."""


async def _receive(registry: CallbackRegistry, known: KnownKey, request: web.BaseRequest) -> web.StreamResponse:
    try:
        if request.content.is_eof():  # as nearly always: the body came with the head
            body = request.content.read_nowait()
        else:
            body = await _read_body(request, registry.body_limit)
    except TimeoutError:
        response = _closing(408)
        await _send_and_linger(request, response)
        return response
    except (ValueError, OSError, web.RequestPayloadError, HttpProcessingError):  # OSError: the sender hung up
        return await _refuse(request, 400)
    headers = request.headers  # not request.content_type: its parser takes a second for a hostile header
    if registry.on_request is not None:
        registry.on_request(ReceivedRequest(request.method, headers, body))
    delivery = Delivery(body, headers.get("Content-Type", ""), headers.get("Content-Encoding", ""))
    response = _closing(await registry.deliver(known, delivery))
    if not request.content.is_eof():
        await _send_and_linger(request, response)
    return response


async def _note_other_request(registry: CallbackRegistry, key: str, request: web.BaseRequest) -> None:
    """Pass a request that is not a POST to the observer, with its body if that comes in time."""
    if registry.on_request is None or await registry.look_up(key) is None:
        return
    body = b""
    with suppress(TimeoutError, ValueError, OSError, web.RequestPayloadError, HttpProcessingError):
        body = await _read_body(request, registry.body_limit)
    registry.on_request(ReceivedRequest(request.method, request.headers, body))


async def _continue(request: web.BaseRequest) -> None:
    """Answer "Expect: 100-continue": clients that send it wait for this answer before they send the body."""
    if request.headers.get("Expect", "")[:20].lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp's own: the response proper has not begun


async def _read_body(request: web.BaseRequest, limit: int) -> bytes:
    """Return the body, or, if that is larger than `limit`, a little more than `limit` bytes of it.

    Raises TimeoutError if it does not come in time.
    """
    body = bytearray()
    async with asyncio.timeout(_BODY_SECONDS):
        await _continue(request)
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                break
    return bytes(body)


def _closing(status: int, headers: dict[str, str] | None = None) -> web.Response:
    response = web.Response(status=status, headers=headers)
    response.force_close()
    return response


async def _refuse(request: web.BaseRequest, status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Answer without reading what is left of the request: the connection is aborted if that is anything."""
    response = _closing(status, headers)
    if not request.content.is_eof():
        await _send(request, response)
        _abort(request)
    return response


async def _send(request: web.BaseRequest, response: web.Response) -> None:
    """Send a response now; aiohttp, which gets it later, finds it sent."""
    with suppress(ConnectionError):  # the sender hung up: aiohttp would log that as an error of this handler
        await response.prepare(request)
        await response.write_eof()


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
    request.content.feed_eof()  # aiohttp reads the body of every request to its end, unless there is none


async def _send_and_linger(request: web.BaseRequest, response: web.Response) -> None:
    """Send the answer to a body that is too large or slow and read a little of the rest, so that its sender sees it."""
    await _send(request, response)
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            async for _ in request.content.iter_any():
                pass
    except (OSError, ValueError, web.RequestPayloadError, HttpProcessingError):
        pass
    _abort(request)


async def _serve_media(request: web.BaseRequest, lent: LentMedia) -> web.StreamResponse:
    if lent.readers >= MAX_READERS:
        return await _refuse(request, 429, {"Retry-After": "1"})
    plan = lent.plan_response(request.headers.get("Range", ""), conditional="If-Range" in request.headers)
    response = web.StreamResponse(status=plan.status, headers=plan.headers)
    response.force_close()
    lent.readers += 1
    try:
        await response.prepare(request)
        if request.method == "GET":
            async with aclosing(lent.pieces(plan)) as pieces:
                async for piece in pieces:
                    async with asyncio.timeout(PIECE_SECONDS):
                        await response.write(piece)
        async with asyncio.timeout(PIECE_SECONDS):
            await response.write_eof()
    except (TimeoutError, OSError, WatermarkError) as error:
        # the file has become unreadable, or the peer does not read: the answer cannot be completed
        log.info("a lent file was not served to its end: %s", type(error).__name__)
        _abort(request)
    finally:
        lent.readers -= 1
    return response
