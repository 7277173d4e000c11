"""ResultObservers: runs the `on_result` handlers and feeds the `deliveries()` streams when jobs end.

A handler that raises is called again, after 1, 4 and 16 seconds; then its result stays unacknowledged, so that it is
given again by `recover()`. A result is acknowledged when all handlers have returned. Handlers are waited for, at most
HANDLER_SECONDS, before the client of their results closes its connections, and by whatever serves the receiver; those
that wait for their next call are not called any more then. Streams end when the server or application closes, or the
last client does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeAlias

from attrs import evolve

from ..clock import time_limit
from ..errors import InvalidInput
from ..jobs import Snapshot
from ..lifetimes import start_task
from ..results import Result

log = logging.getLogger("aiowatermark")

ResultHandler: TypeAlias = Callable[[Result], Awaitable[object]]

HANDLER_SECONDS = 30.0
"""Seconds that closing waits for result handlers."""
_RETRY_PAUSES = (1.0, 4.0, 16.0)
_MAX_QUEUED = 10_000
"""Snapshots that wait for one subscriber; beyond that the oldest is dropped, so that memory stays bounded."""


class ResultObservers:
    """Passes results to handlers, which run in background tasks, and to subscribers, which read from queues."""

    def __init__(self) -> None:
        self._handlers: list[ResultHandler] = []
        # the event of a task ends the pauses between calls of its handlers
        self._running: dict[asyncio.Task[None], asyncio.Event] = {}
        self._subscribers: set[asyncio.Queue[Snapshot | None]] = set()
        self._clients = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Count a client whose results are passed on; raises InvalidInput if others are on another event loop."""
        loop = asyncio.get_running_loop()
        if self._clients and self._loop is not loop and self._loop is not None and not self._loop.is_closed():
            raise InvalidInput(
                'this receiver is used on another event loop: make one for each, aw.CallbackReceiver("https://…")'
            )
        self._loop = loop
        self._clients += 1

    def detach(self) -> None:
        """Count the closing of a client; the last one ends all subscriptions."""
        self._clients -= 1
        if not self._clients:
            self.close()

    def add_handler(self, handler: ResultHandler) -> ResultHandler:
        """Call `handler` with every result from now on; returns it, so that this can be a decorator."""
        self._handlers.append(handler)
        return handler

    @property
    def has_handlers(self) -> bool:
        """Whether there are result handlers."""
        return bool(self._handlers)

    def notify(self, result: Result, on_failure: Callable[[Result], object] | None = None) -> list[asyncio.Task[None]]:
        """Queue a result's snapshot for every subscriber, and run every handler with it; returns the task of these.

        `on_failure` is called if a handler raised each time.
        """
        tasks: list[asyncio.Task[None]] = []
        if self._handlers:
            closing = asyncio.Event()
            tasks.append(task := start_task(_run_all(list(self._handlers), result, closing, on_failure)))
            self._running[task] = closing
            task.add_done_callback(self._running.pop)
        if self._subscribers:
            snapshot = evolve(result.snapshot, key=result.key)
            for queue in self._subscribers:
                _put(queue, snapshot)
        return tasks

    def subscribe(self) -> AsyncIterator[Snapshot]:
        """Return an iterator over the snapshots of all results from now on; it ends with `close`."""
        # subscribed here, not at the first step of the generator: a job that ends in between must not be missed
        queue: asyncio.Queue[Snapshot | None] = asyncio.Queue()
        self._subscribers.add(queue)
        return self._iterate(queue)

    async def _iterate(self, queue: asyncio.Queue[Snapshot | None]) -> AsyncIterator[Snapshot]:
        try:
            while (snapshot := await queue.get()) is not None:
                yield snapshot
        finally:
            self._subscribers.discard(queue)

    def end_pauses(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Call the handlers of these tasks no further time: what they work for is closing."""
        for task in tasks:
            if task in self._running:
                self._running[task].set()

    async def drain(self, seconds: float) -> None:
        """Wait until the running handlers have ended; those that take longer are cancelled and logged."""
        self.end_pauses(list(self._running))
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=seconds)
            for task in late:
                log.warning("a result handler was still running after %.0f s and was cancelled", seconds)
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def close(self) -> None:
        """End all subscriptions, after what is queued for them."""
        for queue in self._subscribers:
            _put(queue, None)


def _put(queue: asyncio.Queue[Snapshot | None], item: Snapshot | None) -> None:
    if queue.qsize() >= _MAX_QUEUED:
        queue.get_nowait()
        log.warning("a subscriber to deliveries is too slow: the oldest of %d snapshots was dropped", _MAX_QUEUED)
    queue.put_nowait(item)


async def _run_all(
    handlers: Sequence[ResultHandler],
    result: Result,
    closing: asyncio.Event,
    on_failure: Callable[[Result], object] | None,
) -> None:
    """Run all handlers with a result at once; acknowledges it if all of them returned."""
    if all(await asyncio.gather(*(_run(handler, result, closing) for handler in handlers))):
        result.note_handled()
    elif on_failure is not None:
        on_failure(result)


async def _run(handler: ResultHandler, result: Result, closing: asyncio.Event) -> bool:
    """Run a handler, again after each pause if it raises; whether it returned."""
    for pause in (*_RETRY_PAUSES, None):
        try:
            await handler(result)
        except Exception:
            log.exception("job %s: a result handler raised an exception", result.key)
            if pause is None or await _is_set_within(closing, pause):
                break
        else:
            return True
    log.error("job %s: a result handler did not handle its result: recover() gives it again", result.key)
    return False


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with time_limit(seconds):
            return await event.wait()
    return False
