"""Crash test: workers and store servers are killed and stopped; no job is charged twice, none is lost, all end.

`harness` describes a round and what is counted, `stores` the modes, `worker` what is killed. The emulator runs in this
process, which is never killed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from . import harness
from .stores import MODES

ROUNDS = {"sqlite": 3, "redis": 3, "redis always": 2}
"""Rounds of each mode; those with a server that forgets take seven seconds or more, so one must do."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, mode in MODES.items() if mode.promised])
async def test_however_workers_and_servers_end_no_job_is_charged_twice_and_none_is_lost(
    name: str, tmp_path: Path
) -> None:
    tally = await harness.run_mode(MODES[name], tmp_path, harness.Settings(ROUNDS.get(name, 1)))
    assert tally.wrong + tally.details == []
    assert tally.violations == 0
    assert tally.kills + tally.server_faults > 0
    assert tally.finished > 0
    assert tally.finished + tally.in_doubt == tally.jobs
