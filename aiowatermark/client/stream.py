"""Many jobs as one stream of outcomes in completion order, with back-pressure on the source of items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from attrs import frozen

from ..errors import WatermarkError
from ..introspection import documented
from ..results import Result
from .handle import ActiveJob


@documented
@frozen
class Done:
    """An item of a stream that succeeded.

    Args:
        media: the item as it was given.
        result: the job's result.
    """

    media: Any
    result: Result


@documented
@frozen
class Failed:
    """An item of a stream that failed.

    Args:
        media: the item as it was given.
        error: why it failed.
    """

    media: Any
    error: WatermarkError


Outcome: TypeAlias = Done | Failed


class JobStream:
    """Pulls items while there is capacity, starts a job for each, and yields outcomes as the jobs end.

    `capacity` counts items that were pulled and whose outcome was not yielded yet, so a slow consumer slows the source
    down, and memory does not grow with the number of items.
    """

    def __init__(self, start: Callable[[Any], Awaitable[ActiveJob]], capacity: int) -> None:
        self._start = start
        self._capacity = asyncio.Semaphore(capacity)
        self._queue: asyncio.Queue[tuple[Outcome | BaseException | None, ActiveJob | None]] = asyncio.Queue()
        self._pending = 1  # the end of the source is one more entry in the queue

    async def run(self, items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Outcome]:
        """Yield the outcomes of all items; leaving early stops pulling and leaves running jobs alone."""
        puller = asyncio.create_task(self._pull(items))
        try:
            while self._pending:
                outcome, job = await self._queue.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                self._pending -= 1
                if outcome is not None:
                    self._capacity.release()
                    yield outcome
                    if job is not None:
                        job.note_failure_taken()
        finally:
            puller.cancel()
            await asyncio.gather(puller, return_exceptions=True)

    async def _pull(self, items: Iterable[Any] | AsyncIterable[Any]) -> None:
        try:
            await self._capacity.acquire()
            async for item in _iterate(items):
                self._pending += 1
                await self._start_item(item)
                await self._capacity.acquire()
            self._queue.put_nowait((None, None))
        except Exception as error:  # noqa: BLE001 - an error of the source ends the stream: run() raises it
            self._queue.put_nowait((error, None))

    async def _start_item(self, item: Any) -> None:
        try:
            job = await self._start(item)
        except WatermarkError as error:
            self._queue.put_nowait((Failed(item, error), None))
            return
        job.call_when_done(lambda outcome: self._queue.put_nowait((_to_outcome(item, outcome), job)))


def _to_outcome(item: Any, outcome: Result | BaseException) -> Outcome | BaseException:
    if isinstance(outcome, Result):
        return Done(item, outcome)
    return Failed(item, outcome) if isinstance(outcome, WatermarkError) else outcome


async def _iterate(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
