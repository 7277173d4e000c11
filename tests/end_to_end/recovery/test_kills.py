"""Kill test: clients are killed with SIGKILL hundreds of times; no job is charged twice and none is lost.

`harness` describes a round and what is checked afterwards, `fork_server` how a child is killed at a chosen point. The
emulator runs in this process, which is never killed, and processes a job in 20 ms.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator

from . import harness


@pytest.mark.slow
async def test_after_three_hundred_kills_no_job_is_charged_twice_and_none_is_lost(tmp_path: Path) -> None:
    async with Emulator(restore=False, processing=0.02, credits=10**6) as emulator:
        tally = await harness.rounds(emulator, tmp_path, 300, seed=1)
    assert tally.wrong == []
    assert tally.kills >= 300
    assert tally.finished + tally.in_doubt == tally.jobs
    assert tally.finished > 0
