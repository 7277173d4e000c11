"""Asynchronous iterators for synchronous callers, who pull the items of a stream in their own thread.

What belongs to a thread stays there: the rows of a database cursor, and what `key` and `media` make of them, may not be
touched by the loop's thread. So the stream on the loop asks for an item, and the thread that is waiting for the next
outcome pulls it, between two outcomes:

    the loop's thread                        the caller's thread, in `next()`
    CallerItems.__anext__: puts a request    takes the request, pulls an item, calls `key` and `media`, posts the item
    starts a job for the item …              takes the next request …
    a job has ended                          returns its outcome

A stream pulls no items while its caller is busy between two `next()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from attrs import define, field

from .loop_thread import WAIT_SECONDS, Call, LoopThread

T = TypeVar("T")
_END: Any = object()


@define(eq=False)
class ItemFunction:
    """A function of items that is called in the caller's thread, by `apply`, for the item that was pulled last.

    A stream calls it on the loop between this item and the next one, and gets the value, or the error, from there.
    """

    function: Callable[[Any], Any]
    _value: Any = None
    _error: Exception | None = None

    def apply(self, item: object) -> None:
        """Call the function."""
        self._value = self._error = None
        try:
            self._value = self.function(item)
        except Exception as error:  # noqa: BLE001 - raised where the stream calls it
            self._error = error

    def __call__(self, _: object) -> Any:
        """Return or raise what the function did for the last item."""
        if self._error is not None:
            raise self._error
        return self._value


@define(eq=False)
class ItemRequest:
    """The loop asks for the next item."""

    answer: asyncio.Future[Any]

    def post(self, value: object, error: Exception | None = None) -> None:
        """Give the item, or what the iterable raised; in the caller's thread."""
        with suppress(RuntimeError):  # the loop has ended, and with it the stream
            self.answer.get_loop().call_soon_threadsafe(self._set, value, error)

    def _set(self, value: object, error: Exception | None) -> None:
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(value)
        else:
            self.answer.set_exception(error)


@define(eq=False)
class CallerItems(Generic[T]):
    """The items of a synchronous iterable, as an asynchronous iterator that pulls them in the caller's thread."""

    items: Iterable[T]
    functions: list[ItemFunction]
    requests: SimpleQueue[ItemRequest | None] = field(factory=SimpleQueue, init=False)

    def __aiter__(self) -> AsyncIterator[T]:
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Ask the caller's thread for an item."""
        request = ItemRequest(asyncio.get_running_loop().create_future())
        self.requests.put(request)
        item: T = await request.answer
        if item is _END:
            raise StopAsyncIteration
        return item

    def pull_until(self, call: Call[Any]) -> None:
        """Pull an item for each request until the call has ended; in the caller's thread."""
        call.outcome.add_done_callback(lambda _: self.requests.put(None))
        self.items = iter(self.items)
        while (request := self._next_request()) is not None:
            try:
                item = next(self.items, _END)
            except Exception as error:  # noqa: BLE001 - the stream raises it after the outcomes of earlier items
                request.post(None, error)
                continue
            for function in self.functions:
                if item is not _END:
                    function.apply(item)
            request.post(item)

    def _next_request(self) -> ItemRequest | None:
        while True:
            with suppress(Empty):
                return self.requests.get(timeout=WAIT_SECONDS)


def iterate(
    thread: LoopThread,
    source: AsyncGenerator[Any, None],
    convert: Callable[[Any], T],
    items: CallerItems[Any] | None = None,
) -> Generator[T, None, None]:
    """Iterate over what an asynchronous generator yields on the loop, converted; leaving it closes the generator."""
    try:
        while True:
            call = Call(lambda: _next(source))
            try:
                thread.begin(call)
                if items is not None:
                    items.pull_until(call)
                call.wait()
                value = call.outcome.result()
            except BaseException:
                thread.cancel(call)
                raise
            if value is _END:
                return
            yield convert(value)
    finally:
        thread.finish(source.aclose)


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source, _END)
