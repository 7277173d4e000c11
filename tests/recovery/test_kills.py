"""Processes killed at every store transition and at random moments: nothing is paid twice, nothing is lost."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from aiowatermark.emulator import Emulator


def _harness() -> Any:
    spec = importlib.util.spec_from_file_location("recovery_harness", Path(__file__).with_name("harness.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def test_three_hundred_kills_pay_nothing_twice_and_lose_nothing(tmp_path: Path) -> None:
    async with Emulator(restore=False, processing=0.02, credits=10**6) as emulator:
        tally = await _harness().rounds(emulator, tmp_path, 300, seed=1)
    assert tally.wrong == []
    assert tally.kills >= 300
    assert tally.finished + tally.in_doubt == tally.jobs
    assert tally.finished > 0
