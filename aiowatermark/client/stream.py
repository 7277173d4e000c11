"""Many jobs as one stream of outcomes in completion order, with back-pressure on the source of items.

How a stream ends, and what becomes of the items that were pulled:

    the source is exhausted     all outcomes are yielded
    the source raises           all outcomes are yielded, then its error is raised: what was paid for is delivered
    the client is closed        like an error of the source
    the consumer leaves         (break, aclose(), an error in the loop's body, cancellation) nothing more is pulled;
                                jobs that were not sent and that nobody else waits for are cancelled; the others go on
                                in the client, and their results stay in the store until somebody takes them

Whatever is raised about one item, by the caller's functions too, is the outcome of that item.

A synchronous source runs on the event loop, in the caller's thread (a database cursor may not leave it): other tasks
run after each item.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import partial
from itertools import count
from typing import Any, TypeAlias

from attrs import frozen

from ..errors import InvalidInput, WatermarkError
from ..introspection import documented
from ..lifetimes import start_task
from ..media.base import Media
from ..results import Result
from .engine.failures import as_watermark_error
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
    down, and memory does not grow with the number of items. `ensure_open` raises what ends the stream before the next
    item is pulled.
    """

    def __init__(
        self, start: Callable[[Any], Awaitable[ActiveJob]], capacity: int, ensure_open: Callable[[], object]
    ) -> None:
        self._start = start
        self._capacity = asyncio.Semaphore(capacity)
        self._ensure_open = ensure_open
        self._queue: asyncio.Queue[tuple[Outcome | None, ActiveJob | None]] = asyncio.Queue()
        self._pending = 1  # the end of the source is one more entry in the queue
        self._source_error: BaseException | None = None
        self._numbers = count()
        self._running: dict[int, ActiveJob] = {}  # by number: items with one key share a job
        self._left = False

    async def run(self, items: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of all items; see the head of this module."""
        puller = start_task(self._pull(items))
        try:
            while self._pending:
                outcome, job = await self._queue.get()
                self._pending -= 1
                if outcome is not None:
                    self._capacity.release()
                    yield outcome
                    if job is not None:
                        job.note_failure_taken()
            if self._source_error is not None:
                raise self._source_error
        finally:
            self._leave(puller)
            await asyncio.gather(puller, return_exceptions=True)

    def _leave(self, puller: asyncio.Task[None]) -> None:
        """Stop pulling and cancel what was not sent; nothing here awaits, so that a second cancellation is harmless."""
        self._left = True
        puller.cancel()
        running, self._running = self._running, {}
        for job in running.values():
            job.remove_waiter()

    async def _pull(self, items: Iterable[Any] | AsyncIterable[Any]) -> None:
        try:
            await self._wait_for_capacity()
            if isinstance(items, AsyncIterable):
                async for item in items:
                    await self._take(item)
            else:
                for item in items:
                    await self._take(item)
        except (Exception, asyncio.CancelledError) as error:
            # a CancelledError may be the source's own: run() has to end by it, not to wait for ever
            self._source_error = error
            if self._left:
                raise
        finally:
            self._queue.put_nowait((None, None))

    async def _take(self, item: Any) -> None:
        """Start the job of an item; returns when the next item may be pulled."""
        if self._left:  # the source has suppressed the cancellation
            raise asyncio.CancelledError
        self._pending += 1
        try:
            self._follow(item, await self._start(item))
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns one item
            self._queue.put_nowait((Failed(item, as_watermark_error(error)), None))
        await self._wait_for_capacity()
        await asyncio.sleep(0)

    async def _wait_for_capacity(self) -> None:
        await self._capacity.acquire()
        self._ensure_open()

    def _follow(self, item: Any, job: ActiveJob) -> None:
        number = next(self._numbers)
        self._running[number] = job
        job.add_waiter()
        job.call_when_done(partial(self._on_job_done, item, number))

    def _on_job_done(self, item: Any, number: int, outcome: Result | BaseException) -> None:
        job = self._running.pop(number, None)
        if job is not None:
            job.remove_waiter()
            self._queue.put_nowait((_to_outcome(item, outcome), job))


def _to_outcome(item: Any, outcome: Result | BaseException) -> Outcome:
    return Done(item, outcome) if isinstance(outcome, Result) else Failed(item, as_watermark_error(outcome))


def check_items(items: object) -> None:
    """Raise InvalidInput if this is one medium, a mapping, or nothing that can be iterated over."""
    if isinstance(items, Mapping):
        raise InvalidInput("stream() takes items, not a mapping: pass its .values(), or its .keys()")
    one = isinstance(items, str | bytes | bytearray | memoryview | os.PathLike | Media)
    if one or callable(getattr(items, "read", None)):
        raise InvalidInput(f"stream() takes many items, and this {type(items).__name__} is one: pass a list of them")
    if not isinstance(items, AsyncIterable | Iterable):
        raise InvalidInput(f"stream() takes an iterable or an async iterable of media, not {type(items).__name__}")
