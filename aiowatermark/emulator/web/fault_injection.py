"""Faults let loose: the one place where an endpoint's answer goes wrong on demand, whatever the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import StreamReader, web
from attrs import define

from ..faults import Fault, FaultKind
from .fault_queue import FaultQueue
from .responses import ApiError, ApiResponse, ErrorReason
from .routes import Endpoint, prepare_response

_CHECK_INTERVAL = 0.02
_LINGER_SECONDS = 10.0


@define
class FaultInjector:
    """An endpoint as the client meets it: each answer may be struck by the first fault that fits."""

    endpoint: Endpoint
    faults: FaultQueue[Fault]
    closing: asyncio.Event

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """The endpoint's answer, or what a fault makes of it."""
        fault = self._fault(request)
        way = self.endpoint(request) if fault is None else _ACTIONS[fault.kind](self, request, fault)
        try:
            response = await way
        except ConnectionError:
            if not _is_disconnected(request):
                raise
            return web.Response()  # the client has left: nobody gets this, and nothing went wrong here
        if not request.content.at_eof():
            await self._drain_request(request, response)
        return response

    def _fault(self, request: web.Request) -> Fault | None:
        step = self.endpoint.route.step
        if step is None or not self.faults:
            return None
        provider = self.endpoint.surface.provider_of(request)
        return self.faults.take(provider, step, lambda fault: fault.spoils_the_answer and step in fault.steps)

    async def _drain_request(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send an answer that came before the body was read, and let the client finish.

        aiohttp would do the same after the handler, but in a task that outlives the connection and the server.
        """
        with suppress(ConnectionError):
            await response.prepare(request)
            await response.write_eof()
        rest, closing = asyncio.ensure_future(_drain(request.content)), asyncio.ensure_future(self.closing.wait())
        await asyncio.wait({rest, closing}, timeout=_LINGER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        rest.cancel()
        closing.cancel()
        await asyncio.gather(rest, closing, return_exceptions=True)
        if request.transport is not None and not request.content.at_eof():
            request.transport.abort()
            # so that aiohttp knows of it before it would linger itself
            await asyncio.sleep(0)

    async def respond(self, request: web.Request, fault: Fault) -> None:
        """Do the work, and bill it, if this fault comes after it."""
        if fault.after_work:
            await self.endpoint.answer(request)

    async def error_response(self, request: web.Request, reason: ErrorReason, sentence: str) -> web.StreamResponse:
        """Answer with a refusal."""
        refusal = ApiError(reason, sentence)
        return await self.endpoint.send(request, self.endpoint.surface.error_response(request, refusal))

    async def wait(self, seconds: float) -> bool:
        """Whether the emulator is closing before so many seconds are over."""
        try:
            await asyncio.wait_for(self.closing.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def client_left(self, request: web.Request, seconds: float | None) -> bool:
        """Whether the client leaves, or the emulator closes, before so many seconds are over."""
        loop = asyncio.get_running_loop()
        end = float("inf") if seconds is None else loop.time() + seconds
        while loop.time() < end:
            if _is_disconnected(request) or await self.wait(min(_CHECK_INTERVAL, end - loop.time())):
                return True
        return False


async def _status(struck: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    await struck.respond(request, fault)
    answer = struck.endpoint.surface.server_error(fault.code)
    body = answer.body if fault.body is None else fault.body
    return await struck.endpoint.send(request, ApiResponse(fault.code, body, answer.content_type, fault.headers))


async def _drop(struck: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    await struck.respond(request, fault)
    return _hang_up(request)


async def _stall(struck: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    answer = await struck.endpoint.answer(request) if fault.after_work else None
    if await struck.client_left(request, fault.amount):
        return _hang_up(request)
    return await struck.endpoint.send(request, answer or await struck.endpoint.answer(request))


async def _send_garbage(struck: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    await struck.respond(request, fault)
    return await struck.endpoint.send(request, ApiResponse(200, fault.body or b"", "text/html"))


async def _drip(struck: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    answer = await struck.endpoint.answer(request)
    pace = fault.amount or 1.0
    response = await prepare_response(request, answer)
    async for block in struck.endpoint.blocks(answer, max(1, int(pace / 20))):
        if await struck.wait(len(block) / pace):
            return _hang_up(request, response)
        await response.write(block)
    return response


async def _cut(struck: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    answer = await struck.endpoint.answer(request)
    response = await prepare_response(request, answer)
    left = int(fault.amount or 0)
    async for block in struck.endpoint.blocks(answer):
        await response.write(block[:left])
        left -= len(block)
        if left <= 0:
            break
    return _hang_up(request, response)


async def _expire(struck: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    return await struck.error_response(request, ErrorReason.EXPIRED, f"The provided token has {fault.kind.value}.")


async def _forget(struck: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    return await struck.error_response(request, ErrorReason.UNKNOWN_TASK, f"The task is {fault.kind.value}.")


_ACTIONS: Mapping[FaultKind, Callable[[FaultInjector, web.Request, Fault], Awaitable[web.StreamResponse]]] = {
    FaultKind.STATUS: _status,
    FaultKind.DROPPED: _drop,
    FaultKind.STALLED: _stall,
    FaultKind.GARBAGE: _send_garbage,
    FaultKind.SLOW: _drip,
    FaultKind.CUT: _cut,
    FaultKind.EXPIRED: _expire,
    FaultKind.FORGOTTEN: _forget,
}


async def _drain(content: StreamReader) -> None:
    while await content.readany():
        pass


def _is_disconnected(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _hang_up(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return response or web.Response()
