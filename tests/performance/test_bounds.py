"""Generous versions of the benchmarks' bounds, small enough for every run: they catch what doubles a cost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aiowatermark

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = [
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks/ is not shipped with the package"),
    pytest.mark.skipif(sys.platform == "win32", reason="the benchmarks count CPU and memory as Unix does"),
]


def run(name: str, *arguments: str) -> None:
    """Run a benchmark on the very package under test; its report is shown where a bound is missed."""
    package = str(Path(aiowatermark.__file__).parents[1])
    # development mode is for finding faults: it slows down what is measured
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONDEVMODE": "", "PYTHONASYNCIODEBUG": ""}
    command = [sys.executable, str(BENCHMARKS / name), "--check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_job_costs_little_more_than_twice_what_it_costs_by_hand() -> None:
    run("overhead.py", "--jobs=300", "--rounds=3", "--allow=1.7")


def test_two_thousand_waiting_jobs_cost_at_most_8_kib_each_and_a_large_picture_16_mib() -> None:
    run("memory.py", "--jobs=2000", "--megabytes=30", "--allow=1.34")


def test_the_loop_ticks_while_files_go_up_and_down() -> None:
    run("loop.py", "--files=8", "--megabytes=8", "--rounds=3", "--allow=5")


def test_importing_costs_at_most_120_ms_of_cpu_above_aiohttp() -> None:
    run("imports.py", "--rounds=3", "--cpu", "--allow=2")
