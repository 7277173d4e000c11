"""Fault injection: the one place where the response to a request goes wrong on demand, whatever the API.

Each route's handler is a `FaultInjector`. It takes the first matching fault that affects responses and runs its
action instead of the endpoint; without a fault the endpoint answers as usual. The fault is taken before the method
and the credentials are checked, so a refused request uses one up too.

    kind        processed and charged           what the client sees
    STATUS      only with `after_work`          this HTTP status
    DROPPED     only with `after_work`          the connection closes without a response
    STALLED     before, after or never          nothing for some seconds, then the usual response; if the client
                (see `_stall`)                  disconnects or the emulator closes first, nothing
    GARBAGE     yes                             200 with a body that is not valid JSON
    SLOW        yes                             the body at some bytes per second
    CUT         yes                             the full Content-Length, then the connection closes after some bytes
    UPLOAD_CUT  no                              the connection closes after some bytes of the request's body
    EXPIRED     no                              an expired signed URL
    FORGOTTEN   no                              an unknown task
    FAILED      not handled here: the job service takes it, and the response is the usual one

Invariants: at most one fault affects a request, and a fault is taken without an await in between, so concurrent
requests never share one use. A route without a step (files hosted for tests) is never affected.

No action outlives its request: every wait ends when the client disconnects or when `closing` is set, which the server
does before it shuts down. A connection error after the client has disconnected is not an error of the emulator; any
other one is raised and logged by aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import StreamReader, web
from attrs import define

from ...clock import call_later, idle
from ..faults import Fault, FaultKind
from .fault_queue import FaultQueue
from .responses import ApiError, ApiResponse, ErrorReason
from .routes import Endpoint, prepare_response

_CHECK_INTERVAL = 0.02
_DRAIN_SECONDS = 10.0
_SLOW_BLOCKS_PER_SECOND = 20


@define
class FaultInjector:
    """The handler of one route: answers as its endpoint does, unless a fault applies to the request."""

    endpoint: Endpoint
    faults: FaultQueue[Fault]
    closing: asyncio.Event

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Return the response of the endpoint, or of the fault that applies."""
        fault = self._take_fault(request)
        pending = self.endpoint(request) if fault is None else _ACTIONS[fault.kind](self, request, fault)
        try:
            response = await pending
        except ConnectionError:
            if not _is_disconnected(request):
                raise
            # the client has disconnected: aiohttp needs a response, but nothing is sent
            return web.Response()
        if not request.content.at_eof():
            await self._send_and_drain(request, response)
        return response

    def _take_fault(self, request: web.Request) -> Fault | None:
        step = self.endpoint.route.step
        if step is None or not self.faults:
            return None
        provider = self.endpoint.surface.provider_of(request)
        return self.faults.take(provider, step, lambda fault: fault.affects_response and step in fault.steps)

    async def _send_and_drain(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send a response that precedes the end of the request body, and read the rest of that body.

        Closing the connection now would reset it, and the client would lose the response. aiohttp drains as well,
        after the handler, but in an asyncio task that outlives the connection and the server.
        """
        with suppress(ConnectionError):
            await response.prepare(request)
            await response.write_eof()
        rest, closing = asyncio.ensure_future(_drain(request.content)), asyncio.ensure_future(self.closing.wait())
        await asyncio.wait({rest, closing}, timeout=_DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        rest.cancel()
        closing.cancel()
        await asyncio.gather(rest, closing, return_exceptions=True)
        if request.transport is not None and not request.content.at_eof():
            request.transport.abort()
            # let aiohttp see the closed connection before it starts to drain as well
            await asyncio.sleep(0)

    async def process_if_after_work(self, request: web.Request, fault: Fault) -> None:
        """Process the request, and charge for it, if the fault comes after the work; the response is dropped."""
        if fault.after_work:
            await self.endpoint.process(request)

    async def send_error(self, request: web.Request, reason: ErrorReason, message: str) -> web.StreamResponse:
        """Refuse the request in the shape of its API."""
        error = ApiError(reason, message)
        return await self.endpoint.send(request, self.endpoint.surface.error_response(request, error))

    async def closes_within(self, seconds: float) -> bool:
        """Wait for `seconds`; return True, earlier, when the emulator is closing."""
        try:
            await asyncio.wait_for(self.closing.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def disconnects_within(self, request: web.Request, seconds: float | None) -> bool:
        """Wait for `seconds`, None meaning without limit; return True, earlier, on a disconnect or on closing."""
        disconnected = asyncio.ensure_future(self._wait_for_disconnect(request))
        timer = None if seconds is None else call_later(seconds, disconnected.cancel)
        with idle():
            await asyncio.wait([disconnected])
        if timer is not None:
            timer.cancel()
        return not disconnected.cancelled()

    async def _wait_for_disconnect(self, request: web.Request) -> None:
        # aiohttp has no event for a disconnect, so the transport is polled
        while not _is_disconnected(request) and not await self.closes_within(_CHECK_INTERVAL):
            pass


async def _send_status(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    await injector.process_if_after_work(request, fault)
    # the content type, and the body unless the fault has one, are those of the provider's errors
    error = injector.endpoint.surface.server_error(fault.code)
    body = error.body if fault.body is None else fault.body
    return await injector.endpoint.send(request, ApiResponse(fault.code, body, error.content_type, fault.headers))


async def _drop(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    await injector.process_if_after_work(request, fault)
    return _close_connection(request)


async def _stall(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    api_response = await injector.endpoint.process(request) if fault.after_work else None
    # without after_work the request is processed only now, so a client that has disconnected is not charged
    if await injector.disconnects_within(request, fault.amount):
        return _close_connection(request)
    return await injector.endpoint.send(request, api_response or await injector.endpoint.process(request))


async def _send_garbage(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    await injector.process_if_after_work(request, fault)
    return await injector.endpoint.send(request, ApiResponse(200, fault.body or b"", "text/html"))


async def _send_slowly(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    api_response = await injector.endpoint.process(request)
    bytes_per_second = fault.amount or 1.0
    size = max(1, int(bytes_per_second / _SLOW_BLOCKS_PER_SECOND))
    response = await prepare_response(request, api_response)
    async for block in injector.endpoint.iter_body(api_response, size):
        if await injector.closes_within(len(block) / bytes_per_second):
            return _close_connection(request, response)
        await response.write(block)
    return response


async def _cut(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:
    api_response = await injector.endpoint.process(request)
    response = await prepare_response(request, api_response)
    remaining = int(fault.amount or 0)
    async for block in injector.endpoint.iter_body(api_response):
        # the last block may contain more than is left to send
        await response.write(block[:remaining])
        remaining -= len(block)
        if remaining <= 0:
            break
    return _close_connection(request, response)


async def _cut_upload(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:  # noqa: ARG001 - one signature for all actions
    remaining = int(fault.amount or 0)
    while remaining > 0 and (block := await request.content.readany()):
        remaining -= len(block)
    return _close_connection(request)


async def _send_expired(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:  # noqa: ARG001 - the same
    return await injector.send_error(request, ErrorReason.EXPIRED, "The provided token has expired.")


async def _send_unknown_task(injector: FaultInjector, request: web.Request, fault: Fault) -> web.StreamResponse:  # noqa: ARG001 - the same
    return await injector.send_error(request, ErrorReason.UNKNOWN_TASK, "There is no such task.")


_ACTIONS: Mapping[FaultKind, Callable[[FaultInjector, web.Request, Fault], Awaitable[web.StreamResponse]]] = {
    FaultKind.STATUS: _send_status,
    FaultKind.DROPPED: _drop,
    FaultKind.STALLED: _stall,
    FaultKind.GARBAGE: _send_garbage,
    FaultKind.SLOW: _send_slowly,
    FaultKind.CUT: _cut,
    FaultKind.UPLOAD_CUT: _cut_upload,
    FaultKind.EXPIRED: _send_expired,
    FaultKind.FORGOTTEN: _send_unknown_task,
}


async def _drain(content: StreamReader) -> None:
    while await content.readany():
        pass


def _is_disconnected(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _close_connection(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Close the connection; the response returned to aiohttp can no longer be sent."""
    if request.transport is not None:
        # unlike abort, this sends what has been written, so that a cut response arrives up to the cut
        request.transport.close()
    return response or web.Response()
