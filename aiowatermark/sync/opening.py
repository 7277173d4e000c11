"""Opens an asynchronous context manager for synchronous code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import TypeVar

from .loop_thread import LoopThread

T = TypeVar("T")


@contextmanager
def open_in_thread(manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Open what needs `async with` on an event loop in a thread of its own, and close it at the end of `with`.

    For an Emulator, or a CallbackServer. Its functions that need no event loop may be called in any thread.
    """
    thread = LoopThread(f"the {type(manager).__name__}")
    thread.start()
    stack = AsyncExitStack()
    try:
        yield thread.run(lambda: stack.enter_async_context(manager))
    finally:
        try:
            thread.finish(stack.aclose)
        finally:
            thread.stop()
