"""An emulator in a thread of its own, and a synchronous client for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aiowatermark import sync
from aiowatermark.emulator import Emulator
from tests.support.log_search import KEYS


@pytest.fixture
def threaded_emulator() -> Iterator[Emulator]:
    """The five APIs on an event loop in another thread."""
    with sync.open_in_thread(Emulator(restore=False, processing=0.0, keys=KEYS)) as emulator:
        yield emulator


@pytest.fixture
def client(threaded_emulator: Emulator) -> Iterator[sync.Client]:
    """An open client of Dewatermark, which has refinements and credits."""
    with sync.Client(threaded_emulator.provider("dewatermark")) as client:
        yield client
