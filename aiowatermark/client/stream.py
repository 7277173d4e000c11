"""Many jobs in completion order, never more alive than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from attrs import frozen

from ..errors import WatermarkError
from ..results import Result
from .handle import JobHandle


@frozen
class Done:
    """One item of a stream that succeeded: the item as it was given, and its result."""

    media: Any
    result: Result


@frozen
class Failed:
    """One item of a stream that did not: the item as it was given, and why."""

    media: Any
    error: WatermarkError


Outcome: TypeAlias = Done | Failed


class JobStream:
    """Pulls items as there is room for them and hands their outcomes on as they come.

    `room` counts what was pulled and not yet handed on, so a slow consumer slows the source down.
    """

    def __init__(self, begin: Callable[[Any], Awaitable[JobHandle]], room: int) -> None:
        self._begin = begin
        self._capacity = asyncio.Semaphore(room)
        self._queue: asyncio.Queue[Outcome | BaseException | None] = asyncio.Queue()
        self._pending = 1

    async def run(self, items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Outcome]:
        """The outcomes of all items; leaving early stops the pulling and leaves the jobs alone."""
        puller = asyncio.create_task(self._pull(items))
        try:
            while self._pending:
                outcome = await self._queue.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                self._pending -= 1
                if outcome is not None:
                    self._capacity.release()
                    yield outcome
        finally:
            puller.cancel()
            await asyncio.gather(puller, return_exceptions=True)

    async def _pull(self, items: Iterable[Any] | AsyncIterable[Any]) -> None:
        try:
            await self._capacity.acquire()
            async for item in _iterate(items):
                self._pending += 1
                await self._start(item)
                await self._capacity.acquire()
            self._queue.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - the source's own: it ends the stream, raised where it is read
            self._queue.put_nowait(error)

    async def _start(self, item: Any) -> None:
        try:
            handle = await self._begin(item)
        except WatermarkError as error:
            self._queue.put_nowait(Failed(item, error))
            return
        handle.when_done(lambda outcome: self._queue.put_nowait(_to_outcome(item, outcome)))


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
