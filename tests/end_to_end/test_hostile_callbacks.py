"""Fifty thousand hostile deliveries beside an honest sender, with time limits that any machine keeps."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.processes import REPOSITORY, start_python

BENCHMARK = REPOSITORY / "benchmarks" / "hostile.py"
OPTIONS = ("--mount=server", "--deliveries=50000", "--seconds=2", "--idle=1000", "--allow=20", "--check")


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARK.is_file(), reason="benchmarks/ is not part of the source distribution")
async def test_fifty_thousand_hostile_deliveries_cost_no_honest_one() -> None:
    running = await start_python(BENCHMARK, *OPTIONS)
    try:
        async with asyncio.timeout(280):
            out, err = await running.process.communicate()
    finally:
        await running.kill()
    assert running.process.returncode == 0, (out + err).decode()
