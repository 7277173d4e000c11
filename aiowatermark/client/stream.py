"""Many jobs as one stream of outcomes in completion order, with back-pressure on the source of items.

How a stream ends, and what becomes of the items that were pulled:

    the source is exhausted     all outcomes are yielded
    the source raises           all outcomes are yielded, then its error is raised: what was paid for is delivered
    the client is closed        like an error of the source
    the consumer leaves         (break, aclose(), an error in the loop's body, cancellation) nothing more is pulled;
                                jobs not sent that no other caller waits for are cancelled; the others go on
                                in the client, and their results stay in the store until they are acknowledged

Whatever is raised about one item, by the caller's functions too, is the outcome of that item. Items are only passed on:
they need not be hashable or comparable.

A synchronous source runs on the event loop, in the caller's thread (a database cursor may not leave it): other tasks
run after each item.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar, cast

from attrs import frozen

from ..errors import InvalidInput, WatermarkError
from ..introspection import documented
from ..lifetimes import start_task
from ..media import Source
from ..media.base import Media
from ..misuse import NotAwaitable
from ..results import Result
from ..suggestions import forgotten_await
from .arguments import MediaArgument, is_source
from .content_key import ContentKey, Key
from .engine.failures import as_watermark_error
from .handle import ActiveJob

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@documented
@frozen
class Done(Generic[T_co]):
    """An item of a stream that succeeded.

    Args:
        item: the item as it was given.
        result: the job's result.
    """

    item: T_co
    result: Result

    @property
    def media(self) -> T_co:
        """The item: the name of `item` in version 0.1, to be removed in 0.3."""
        return deprecated_item(self.item)


@documented
@frozen
class Failed(Generic[T_co]):
    """An item of a stream that failed.

    Args:
        item: the item as it was given.
        error: why it failed.
    """

    item: T_co
    error: WatermarkError

    @property
    def media(self) -> T_co:
        """The item: the name of `item` in version 0.1, to be removed in 0.3."""
        return deprecated_item(self.item)


Outcome: TypeAlias = Done[T] | Failed[T]
"""What became of an item of a stream."""


def deprecated_item(item: T) -> T:
    """Return the item of an outcome, for the property `media` that version 0.3 removes; warns of that."""
    warnings.warn("`media` of an outcome is now called `item`", DeprecationWarning, stacklevel=3)
    return item


@frozen
class ItemFunctions(Generic[T]):
    """What a stream asks of each item: its media, its mask and its key, by functions of the caller.

    Raises InvalidInput for an argument that is not a function where one is expected.
    """

    media: Callable[[T], MediaArgument] | None
    mask: Source | Callable[[T], Source | None] | None
    key: Callable[[T], Key] | ContentKey | None

    def __attrs_post_init__(self) -> None:
        """Refuse the name of a field, or a key for all items, in place of a function."""
        if self.media is not None and not callable(self.media):
            raise InvalidInput(
                f"media must be a function: media=lambda item: item.path, not {type(self.media).__name__}"
            )
        if self.key is not None and not isinstance(self.key, ContentKey) and not callable(self.key):
            given = type(self.key).__name__
            raise InvalidInput(f"key must be a function: key=lambda item: item.id, or key=aw.CONTENT_KEY, not {given}")

    def media_of(self, item: T) -> Any:
        """Return the media of an item; the item itself is the media if there is no function."""
        return item if self.media is None else _ask("media", self.media, item)

    def mask_of(self, item: T) -> Source | None:
        """Return the mask of an item, the one for all items, or None."""
        mask: Any = self.mask
        mask = mask if mask is None or is_source(mask) else _ask("mask", mask, item)
        return cast("Source | None", mask)

    def key_of(self, item: T) -> Key | None:
        """Return the key of an item; None for a new one."""
        return cast("Key | None", _ask("key", self.key, item)) if callable(self.key) else self.key


def _ask(name: str, function: Any, item: object) -> Any:
    try:
        return function(item)
    except WatermarkError:
        raise
    except Exception as error:
        # not its text: it may hold what must not be shown
        raise InvalidInput(
            f"the function {name}= raised {type(error).__name__} for this item: see __cause__"
        ) from error


class JobStream(Generic[T]):
    """Pulls items while there is capacity, starts a job for each, and yields outcomes as the jobs end.

    `capacity` counts items that were pulled and whose outcome was not yielded yet, so a slow consumer slows the source
    down, and memory does not grow with the number of items. `ensure_open` raises what ends the stream before the next
    item is pulled.
    """

    def __init__(
        self, start: Callable[[T], Awaitable[ActiveJob]], capacity: int, ensure_open: Callable[[], object]
    ) -> None:
        self._start = start
        self._capacity = asyncio.Semaphore(capacity)
        self._ensure_open = ensure_open
        self._queue: asyncio.Queue[tuple[Outcome[T] | None, ActiveJob | None]] = asyncio.Queue()
        self._pending = 1  # the end of the source is one more entry in the queue
        self._source_error: BaseException | None = None
        self._numbers = count()
        self._running: dict[int, ActiveJob] = {}  # by number: items with one key share a job
        self._left = False

    async def run(self, items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[Outcome[T], None]:
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

    async def _pull(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        try:
            await self._wait_for_capacity()
            if isinstance(items, AsyncIterable):
                async for item in items:
                    await self._take(item)
            else:
                for item in items:
                    await self._take(item)
        except (Exception, asyncio.CancelledError) as error:
            # a CancelledError may be the source's own: run() must end by it, not wait for ever
            self._source_error = error
            if self._left:
                raise
        finally:
            self._queue.put_nowait((None, None))

    async def _take(self, item: T) -> None:
        """Start the job of an item; returns when the next item may be pulled."""
        if self._left:  # the source has suppressed the cancellation
            raise asyncio.CancelledError
        self._pending += 1
        try:
            self._follow(item, await self._start(item))
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns one item
            self._queue.put_nowait((Failed(item, as_watermark_error(error)), None))
        others_run = self._capacity.locked()
        await self._wait_for_capacity()
        if not others_run:
            await asyncio.sleep(0)

    async def _wait_for_capacity(self) -> None:
        await self._capacity.acquire()
        self._ensure_open()

    def _follow(self, item: T, job: ActiveJob) -> None:
        number = next(self._numbers)
        self._running[number] = job
        job.add_waiter()
        job.call_when_done(partial(self._on_job_done, item, number))

    def _on_job_done(self, item: T, number: int, outcome: Result | BaseException) -> None:
        job = self._running.pop(number, None)
        if job is not None:
            job.remove_waiter()
            self._queue.put_nowait((_to_outcome(item, outcome), job))


def _to_outcome(item: T, outcome: Result | BaseException) -> Outcome[T]:
    return Done(item, outcome) if isinstance(outcome, Result) else Failed(item, as_watermark_error(outcome))


class OutcomeStream(AsyncGenerator[Outcome[T], None], NotAwaitable):
    """The outcomes of a stream: the generator that `JobStream.run` returns, which answers an `await` of itself."""

    __slots__ = ("__weakref__", "_outcomes")
    _called = "stream()"
    _right_line = "`async for outcome in client.stream(…):`"

    def __init__(self, outcomes: AsyncGenerator[Outcome[T], None]) -> None:
        self._outcomes = outcomes

    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            """Raise InvalidInput, for a `for` in place of `async for`."""
            raise InvalidInput(f"{self._called} is asynchronous: {self._right_line}")

    def __anext__(self) -> Coroutine[Any, Any, Outcome[T]]:
        """Return the next outcome."""
        return self._outcomes.__anext__()

    def asend(self, value: None) -> Coroutine[Any, Any, Outcome[T]]:
        """Return the next outcome."""
        return self._outcomes.asend(value)

    def athrow(self, *error: Any) -> Coroutine[Any, Any, Outcome[T]]:
        """Raise an error where the stream waits for its consumer, which ends it."""
        return self._outcomes.athrow(*error)

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Leave the stream."""
        return self._outcomes.aclose()


def check_items(items: object) -> None:
    """Raise InvalidInput if this is one medium, a mapping, or nothing that can be iterated over."""
    if isinstance(items, Mapping):
        raise InvalidInput("stream() takes items, not a mapping: pass its .values(), or its .keys()")
    one = isinstance(items, str | bytes | bytearray | memoryview | os.PathLike | Media)
    if one or callable(getattr(items, "read", None)):
        raise InvalidInput(f"stream() takes many items, and this {type(items).__name__} is one: pass a list of them")
    if not isinstance(items, AsyncIterable | Iterable):
        message = f"stream() takes an iterable or an async iterable of media, not {type(items).__name__}"
        raise InvalidInput(forgotten_await(items) or message)
