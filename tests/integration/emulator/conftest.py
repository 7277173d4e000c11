"""Fixtures for tests of the emulator by plain HTTP, without the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from aiowatermark.emulator import Emulator
from aiowatermark.emulator.pictures import sample_mark
from tests.support.manual_clock import ManualClock
from tests.support.raw_api import RawApi


@pytest.fixture
def clock() -> ManualClock:
    """A clock for an emulator, which only the test moves."""
    return ManualClock()


@pytest.fixture
async def api() -> AsyncIterator[RawApi]:
    """An emulator that returns images unchanged and without processing time."""
    async with Emulator(restore=False, processing=0) as emulator, aiohttp.ClientSession() as session:
        yield RawApi(emulator, session)


@pytest.fixture
async def restoring_api() -> AsyncIterator[RawApi]:
    """An emulator that restores, with a known watermark."""
    async with Emulator(mark=sample_mark(), processing=0) as emulator, aiohttp.ClientSession() as session:
        yield RawApi(emulator, session)


@pytest.fixture(autouse=True)
def no_errors_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test during which the emulator's servers log an error."""
    yield
    # caplog.records are those of the teardown alone
    records = [*caplog.get_records("call"), *caplog.records]
    assert not [record for record in records if record.levelname in ("ERROR", "CRITICAL")]
