"""Waits for what has no event to await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `condition()` is true; raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - no event is set for these conditions
            await asyncio.sleep(0.01)


async def run_ready_tasks() -> None:
    """Let every task that is ready run until it waits for something else."""
    for _ in range(20):
        await asyncio.sleep(0)
