"""Fixtures of all tests: nothing is left running, no secret is logged, and an emulator to send jobs to."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import settings

from aiowatermark.emulator import Emulator
from tests.support.log_search import KEYS, SecretSearch
from tests.support.loops import loop_factory, with_task_factory
from tests.support.virtual_clock import VirtualLoop

# how long an example takes depends on the machine
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_asyncio_loop_factories(
    config: pytest.Config,
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run modules that set VIRTUAL_CLOCK = True on the loop whose time jumps, others on the loop to be tested."""
    module = getattr(item, "module", None)
    factory = VirtualLoop if getattr(module, "VIRTUAL_CLOCK", False) else loop_factory()
    return {"loop": with_task_factory(factory)}


@pytest.fixture(autouse=True)
async def no_leftover_tasks() -> AsyncIterator[None]:
    """Fail a test that leaves a task running, or an exception that nothing handled."""
    problems: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: problems.append(context))
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=10.0)
    # an exception of a task or future is reported when it is collected
    gc.collect(0)
    assert not [task for task in left if not task.done()]
    assert not problems


@pytest.fixture(autouse=True)
def no_secrets_logged() -> Iterator[None]:
    """Fail a test during which a secret is logged, at any level."""
    search = SecretSearch()
    loggers = [logging.getLogger(name) for name in ("aiowatermark", "aiohttp", "asyncio")]
    for logger in loggers:
        logger.addHandler(search)
        logger.setLevel(logging.DEBUG)
    yield
    for logger in loggers:
        logger.removeHandler(search)
    assert not search.found


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """The five APIs, without processing time, returning images unchanged."""
    async with Emulator(restore=False, processing=0.0, keys=KEYS) as running:
        yield running


@pytest.fixture
def no_retry_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the SDK retry without delays."""
    monkeypatch.setattr("aiowatermark.transport.retry.backoff.full_jitter", lambda _: 0.0)
