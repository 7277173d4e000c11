"""A pytest plugin: the five APIs on loopback as a fixture, for the tests of whoever uses this package."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .emulator import Emulator

# anyio's plugin runs plain async fixtures; pytest-asyncio in its strict mode wants its own
_fixture: Any = import_module("pytest_asyncio").fixture if find_spec("pytest_asyncio") else pytest.fixture


@_fixture  # type: ignore[untyped-decorator]
async def watermark_emulator() -> AsyncIterator[Emulator]:
    """An emulator that hands pictures back as they came, at once: `aw.Client(watermark_emulator.provider("kaze"))`.

    For one that really restores, use `async with Emulator() as emulator:` with the extra `[emulator]`.
    """
    pytest.importorskip("aiowatermark.emulator")
    from .emulator import Emulator  # noqa: PLC0415 - the extra is wanted only by who uses the fixture

    async with Emulator(restore=False, processing=0.0) as emulator:
        yield emulator
