"""Processes killed at every store transition and at random moments: nothing is paid twice, nothing is lost."""

from __future__ import annotations

from pathlib import Path

from aiowatermark.emulator import Emulator

from . import harness


async def test_three_hundred_kills_pay_nothing_twice_and_lose_nothing(tmp_path: Path) -> None:
    async with Emulator(restore=False, processing=0.02, credits=10**6) as emulator:
        tally = await harness.rounds(emulator, tmp_path, 300, seed=1)
    assert tally.wrong == []
    assert tally.kills >= 300
    assert tally.finished + tally.in_doubt == tally.jobs
    assert tally.finished > 0
