"""The synchronous client and what it returns; `client.pyi` has the signatures, made from those of the async classes."""

from __future__ import annotations

import atexit
import threading
from collections.abc import AsyncIterable, Callable, Generator, Iterable
from contextlib import suppress
from functools import WRAPPER_ASSIGNMENTS, wraps
from typing import Any, Self, TypeAlias

from attrs import frozen

from ..client.client import Client as AsyncClient
from ..client.handle import JobHandle as AsyncJobHandle
from ..client.recovery import Recovery as AsyncRecovery
from ..client.stream import Done as AsyncDone
from ..client.stream import Failed, check_items
from ..errors import InvalidInput
from ..introspection import documented
from ..results import Result as AsyncResult
from .iteration import CallerItems, ItemFunction, iterate
from .loop_thread import LoopThread
from .wrapping import Wrapper, attribute, synchronous, synchronous_value, wrap

_NAME = "the client"
_EXCEPT_DOCSTRING = tuple(name for name in WRAPPER_ASSIGNMENTS if name != "__doc__")
_ITEM_FUNCTIONS = ("key", "mask", "media")
"""Parameters of `stream` that are functions of an item; they are called in the caller's thread."""


@synchronous(AsyncResult)
class Result(Wrapper):
    """A finished job: its `outputs`, one per input in the inputs' order, and how to save or read them.

    As `aiowatermark.Result`, with methods that return when the work is done.
    """

    def acknowledge(self) -> None:
        """Note that you took the result, so that no client is given it again after a crash; waits for the store.

        Saving or reading all outputs does this, unless the client was made with `acknowledge="manual"`.
        """
        self._run("acknowledge")


@synchronous(AsyncJobHandle)
class JobHandle(Wrapper):
    """A job under way: `result()` waits for its Result. Interrupting the wait leaves the job.

    As `aiowatermark.JobHandle`, with methods that return when the work is done.
    """

    @wraps(AsyncJobHandle.when_done, _EXCEPT_DOCSTRING)
    def when_done(self, function: Callable[[Any], object]) -> None:
        """Call `function` in a thread of its own with the result or the error, once; it may wait."""
        thread = self._open_thread

        def call(outcome: object) -> None:
            argument = wrap(outcome, thread)
            threading.Thread(target=function, args=(argument,), name="aiowatermark when_done", daemon=True).start()

        self._run("when_done", call)


@synchronous_value(AsyncRecovery)
@documented
@frozen
class Recovery(AsyncRecovery):
    """What `client.recover()` found; see `aiowatermark.Recovery`."""


@synchronous_value(AsyncDone)
@documented
@frozen
class Done(AsyncDone):
    """An item of a stream that succeeded, and its synchronous result."""


Outcome: TypeAlias = Done | Failed


@synchronous(AsyncClient)
class Client(Wrapper):
    """Submits jobs to one provider account and waits for their results, for code without an event loop.

    It runs the asynchronous client on an event loop of its own, in a daemon thread. Use it in `with`, or call `open`
    and `close`. All methods may be called in any number of threads at once, also where an event loop is running, as in
    Jupyter. A method that is interrupted by Ctrl-C leaves a job that may be paid as it is: `recover()` finds it.

    The arguments are those of `aiowatermark.Client`, without `session`, which belongs to an event loop of yours.
    """

    _changing: threading.Lock
    _opened: bool
    limits = attribute("limits", "How much is done concurrently.")

    @wraps(AsyncClient.__init__, _EXCEPT_DOCSTRING)
    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Make a client that is not open."""
        if options.get("session") is not None:
            raise InvalidInput(
                "a session belongs to its event loop: give this client proxy=, ssl= or trust_env= instead"
            )
        super().__init__(AsyncClient(*arguments, **options), LoopThread(_NAME))

    def _attach(self, wrapped: Any, thread: LoopThread) -> None:
        """Set the attributes; a client that an open client gives has a running thread, which it does not end."""
        super()._attach(wrapped, thread)
        self._changing = threading.Lock()
        self._opened = False

    def open(self) -> Self:
        """Open the client and return it; it is open until `close`, or until the interpreter exits.

        Raises InvalidInput if it is open already, and what opening the store raises.
        """
        with self._changing:
            if self._thread.running:
                raise InvalidInput("the client is already open")
            self._thread = thread = LoopThread(_NAME)
            thread.start()
            try:
                thread.run(self._wrapped.__aenter__)
            except BaseException:
                thread.stop()
                raise
            self._opened = True
            atexit.register(self._close_at_exit)
        return self

    def close(self) -> None:
        """Wait up to `drain` seconds for answers to paid requests, log the tokens of unfinished jobs, and close.

        Does nothing if the client is not open, and in a child of a fork, which has no copy of it.
        """
        if not self._opened or not self._thread.running:
            return
        self._thread.check_caller()
        with self._changing:
            try:
                self._thread.finish(self._wrapped.__aexit__)
            finally:
                self._opened = False
                self._thread.stop()
                atexit.unregister(self._close_at_exit)

    def _close_at_exit(self) -> None:
        with suppress(Exception):  # the interpreter ends: what closing needs may be gone
            self.close()

    def __enter__(self) -> Self:
        """Open the client; see `open`."""
        return self.open()

    def __exit__(self, *exc: object) -> None:
        """Close the client; see `close`."""
        self.close()

    @wraps(AsyncClient.stream, _EXCEPT_DOCSTRING)
    def stream(self, items: Iterable[Any] | AsyncIterable[Any], **options: Any) -> Generator[Outcome, None, None]:
        """Run many jobs; yields their outcomes in completion order.

        As `aiowatermark.Client.stream`. Items are pulled, and `key` and `media` are called, in the thread that iterates
        over the outcomes, while it waits for the next one: a database cursor may be passed. Leaving the loop, or
        `close()` of the iterator, cancels the jobs that were not sent.
        """
        check_items(items)
        thread = self._open_thread
        source: CallerItems[Any] | None = None
        if not isinstance(items, AsyncIterable):
            functions = {name: ItemFunction(options[name]) for name in _ITEM_FUNCTIONS if callable(options.get(name))}
            options |= functions
            source = CallerItems(items, list(functions.values()))

        async def open_stream() -> Any:
            return self._wrapped.stream(source or items, **options)

        outcomes = thread.run(open_stream)
        return iterate(thread, outcomes, lambda outcome: wrap(outcome, thread), source)
