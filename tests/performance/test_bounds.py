"""Short versions of the benchmarks with larger bounds: they fail when a cost doubles.

Run with `pytest -m benchmark` on a machine that is otherwise idle.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aiowatermark

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks/ is not part of the source distribution"),
    pytest.mark.skipif(sys.platform == "win32", reason="the benchmarks measure CPU and memory with Unix calls"),
]


def run(name: str, *arguments: str) -> None:
    """Run a benchmark on the package under test; its report is shown if a bound is missed."""
    package = str(Path(aiowatermark.__file__).parents[1])
    # development mode would slow down what is measured
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONDEVMODE": "", "PYTHONASYNCIODEBUG": ""}
    command = [sys.executable, str(BENCHMARKS / name), "--check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_job_costs_at_most_2_3_times_the_cpu_of_handwritten_aiohttp() -> None:
    run("overhead.py", "--jobs=300", "--rounds=3", "--allow=1.7")


def test_a_waiting_job_uses_at_most_8_kib_and_a_large_upload_22_mib() -> None:
    run("memory.py", "--jobs=2000", "--megabytes=30", "--allow=1.34")


def test_transfers_delay_the_event_loop_by_at_most_50_ms() -> None:
    run("loop.py", "--files=8", "--megabytes=8", "--rounds=3", "--allow=5")


def test_importing_costs_at_most_6_times_the_cpu_of_aiohttp() -> None:
    run("imports.py", "--rounds=3", "--cpu", "--allow=2")
