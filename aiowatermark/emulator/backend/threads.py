"""Thread pools: two threads each, for file access and for OpenCV, which would block the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from attrs import define, field

from ...clock import active

P = ParamSpec("P")
T = TypeVar("T")


def _create_executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="aiowatermark-emulator")


@define
class ThreadPool:
    """Two threads, started when first needed and ended by `close`."""

    _executor: ThreadPoolExecutor = field(init=False, factory=_create_executor)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in one of the threads and return its result."""
        loop = asyncio.get_running_loop()
        with active():
            return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    async def close(self) -> None:
        """Wait for the calls that are running and drop those that are queued."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
