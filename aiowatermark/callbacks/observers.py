"""Who wants to know when jobs end: handlers in the background, and streams of snapshots."""

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


class ResultObservers:
    """Tells handlers and listeners of results; a slow listener loses the oldest news, never the process's memory."""

    def __init__(self) -> None:
        self._handlers: list[ResultHandler] = []
        self._running: set[asyncio.Task[None]] = set()
        self._subscribers: set[asyncio.Queue[Snapshot | None]] = set()

    def add_handler(self, handler: ResultHandler) -> ResultHandler:
        """One more handler."""
        self._handlers.append(handler)
        return handler

    def notify(self, result: Result) -> None:
        """Start the handlers, feed the listeners."""
        for handler in self._handlers:
            task = asyncio.create_task(_run(handler, result))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if self._subscribers:
            snapshot = evolve(result.snapshot, key=result.key)
            for queue in self._subscribers:
                _put(queue, snapshot)

    def subscribe(self) -> AsyncIterator[Snapshot]:
        """What is told from now on, until the end."""
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
        """Let handlers finish; who takes longer goes on alone, and the log says so."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=seconds)
            for task in late:
                log.warning("a result's handler still runs after %.0f s and is called off", seconds)
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def close(self) -> None:
        """Nothing more will be told."""
        for queue in self._subscribers:
            _put(queue, None)


def _put(queue: asyncio.Queue[Snapshot | None], item: Snapshot | None) -> None:
    if queue.qsize() >= _MAX_QUEUED:
        queue.get_nowait()
        log.warning("a listener of deliveries is too slow: the oldest of %d snapshots was dropped", _MAX_QUEUED)
    queue.put_nowait(item)


async def _run(handler: ResultHandler, result: Result) -> None:
    try:
        await handler(result)
    except Exception:
        log.exception("the handler of job %s's result raised", result.key)
