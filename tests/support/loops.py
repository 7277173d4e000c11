"""The event loop and task factory of the tests, which two environment variables choose for a whole run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from importlib import import_module

LOOP = "AIOWATERMARK_TEST_LOOP"
"""`uvloop`; the default is asyncio's own loop."""
TASKS = "AIOWATERMARK_TEST_TASKS"
"""`eager`: tasks run at once until they wait for something (Python 3.12)."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory() -> LoopFactory:
    """What makes the loops of tests that need no virtual clock."""
    name = os.environ.get(LOOP)
    factory: LoopFactory = asyncio.new_event_loop if name is None else import_module(name).new_event_loop
    return factory


def with_task_factory(factory: LoopFactory) -> LoopFactory:
    """The same, with the task factory that is to be tested."""
    if os.environ.get(TASKS) != "eager":
        return factory

    def make() -> asyncio.AbstractEventLoop:
        loop = factory()
        loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - unknown to type checkers of 3.11
        return loop

    return make
