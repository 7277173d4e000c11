"""A few threads of the emulator's own for what would block the loop: files, and OpenCV."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from attrs import define, field

P = ParamSpec("P")
T = TypeVar("T")


def _executor_of_two() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="aiowatermark-emulator")


@define
class ThreadPool:
    """Two threads, made when first needed and ended by `close`."""

    _executor: ThreadPoolExecutor = field(init=False, factory=_executor_of_two)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function gives, called in one of the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    async def close(self) -> None:
        """Wait for what runs; drop what waits."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
