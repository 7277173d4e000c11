"""What every test gets: a clean loop, a log that is searched for secrets, an emulator, a clock that jumps."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest

from aiowatermark.emulator import Emulator
from tests.support.virtual_clock import VirtualLoop

CANARY = "canary"
KEYS: Mapping[str, str | tuple[str, str]] = {
    "gptge": f"{CANARY}-gptge-1",
    "picwish": f"{CANARY}-picwish-2",
    "kaze": f"{CANARY}-kaze-3",
    "photoeraser": (f"{CANARY}-photoeraser-4", f"{CANARY}-photoeraser-5"),
    "dewatermark": f"{CANARY}-dewatermark-6",
}


def pytest_asyncio_loop_factories(
    config: pytest.Config,
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Modules that say VIRTUAL_CLOCK = True run on the loop whose time jumps."""
    module = getattr(item, "module", None)
    return {"virtual": VirtualLoop} if getattr(module, "VIRTUAL_CLOCK", False) else {"real": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
async def clean_loop() -> AsyncIterator[None]:
    """No task is left over and no exception passed silently."""
    problems: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: problems.append(context))
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=1.0)
    gc.collect(0)
    assert not [task for task in left if not task.done()]
    assert not problems


class _Search(logging.Handler):
    """Keeps every log line in which a secret stands."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if CANARY in text:
            self.found.append(text)


@pytest.fixture(autouse=True)
def searched_log() -> Iterator[None]:
    """No key stands in any log line of any test, at DEBUG, tracebacks included."""
    search = _Search()
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
    """The five APIs, quick, handing pictures back as they came."""
    async with Emulator(restore=False, processing=0.0, keys=KEYS) as running:
        yield running


def picture(width: int = 32, height: int = 24, padding: int = 0) -> bytes:
    """A JPEG header with as many bytes behind it as are wanted; enough for whoever only looks at it."""
    start = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    frame = (
        b"\xff\xc0\x00\x11\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x03" + b"\x01\x11\x00" * 3
    )
    return start + frame + b"\x00" * padding + b"\xff\xd9"


@pytest.fixture(name="picture")
def _picture() -> Callable[..., bytes]:
    """Makes pictures that are only a header."""
    return picture
