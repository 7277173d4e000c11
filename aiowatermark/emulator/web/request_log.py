"""Request log: tells an observer of every request to the emulator, with the job it was about and what it charged.

A middleware notes method, path, status and time. The job and the charge are known deeper down, where tasks are found
and charged: these functions note them in a context variable, which belongs to the request that is being processed.
Work that goes on after the answer has a copy of the context and changes nothing that was told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from attrs import define, frozen

_MAX_PATH = 200
"""Characters of a path that are told: a request may have one of many thousands."""


@frozen
class ServedRequest:
    """One request that the emulator has served.

    `path` is as it was sent, without the query, which may hold a signature. `status` is None if the connection was
    closed without an answer. `task_id` is the job that the request submitted or asked for, None without one. `charges`
    counts the charges it made.
    """

    method: str
    path: str
    status: int | None
    task_id: str | None
    charges: int
    seconds: float


RequestObserver: TypeAlias = Callable[[ServedRequest], object]
"""Is called with each request; an exception that it raises ends the request with a 500."""


@define
class _Notes:
    task_id: str | None = None
    charges: int = 0


_notes: ContextVar[_Notes | None] = ContextVar("aiowatermark_emulator_request", default=None)


def note_task(task_id: str) -> None:
    """Note the job that the current request is about."""
    if (notes := _notes.get()) is not None:
        notes.task_id = task_id


def note_charges(count: int) -> None:
    """Note that the current request made so many charges; a negative number for refunds."""
    if (notes := _notes.get()) is not None:
        notes.charges += count


def request_log(observer: RequestObserver) -> Middleware:
    """Return a middleware of aiohttp that calls the observer with each request, also one that no route serves."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        notes, started = _Notes(), time.monotonic()
        token = _notes.set(notes)
        status: int | None = 500
        try:
            response = await handler(request)
            status = None if _is_closed(request) else response.status
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            _notes.reset(token)
            path = request.raw_path.partition("?")[0][:_MAX_PATH]
            seconds = time.monotonic() - started
            observer(ServedRequest(request.method, path, status, notes.task_id, notes.charges, seconds))
        return response

    return middleware


def _is_closed(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
