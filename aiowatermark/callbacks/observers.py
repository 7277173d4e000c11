"""ResultObservers: runs the `on_result` handlers and feeds the `deliveries()` streams when jobs end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from attrs import evolve

from ..jobs import Snapshot
from ..results import Result

log = logging.getLogger("aiowatermark")

ResultHandler: TypeAlias = Callable[[Result], Awaitable[object]]

_MAX_QUEUED = 10_000
"""Snapshots that wait for one subscriber; beyond that the oldest is dropped, so that memory stays bounded."""


class ResultObservers:
    """Passes results to handlers, which run in background tasks, and to subscribers, which read from queues."""

    def __init__(self) -> None:
        self._handlers: list[ResultHandler] = []
        self._running: set[asyncio.Task[None]] = set()
        self._subscribers: set[asyncio.Queue[Snapshot | None]] = set()

    def add_handler(self, handler: ResultHandler) -> ResultHandler:
        """Call `handler` with every result from now on; returns it, so that this can be a decorator."""
        self._handlers.append(handler)
        return handler

    @property
    def has_handlers(self) -> bool:
        """Whether anybody handles results."""
        return bool(self._handlers)

    def notify(self, result: Result) -> list[asyncio.Task[None]]:
        """Queue a result's snapshot for every subscriber, and start every handler with it; returns their tasks."""
        tasks = [asyncio.create_task(_run(handler, result)) for handler in self._handlers]
        for task in tasks:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
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

    async def drain(self, seconds: float) -> None:
        """Wait until the running handlers have ended; those that take longer are cancelled and logged."""
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


async def _run(handler: ResultHandler, result: Result) -> None:
    try:
        await handler(result)
        result.acknowledge()
    except Exception:
        log.exception("job %s: a result handler raised an exception", result.key)
