"""Crash test: kills processes with SIGKILL at every store transition and at random moments, thousands of times.

    python benchmarks/crash.py [--kills 3000] [--seed 1]

Uses the harness of tests/end_to_end/recovery. Exits with 1 if a job was charged twice or is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "end_to_end" / "recovery")]

import harness  # type: ignore[import-not-found]  # found through sys.path

from aiowatermark.emulator import Emulator


async def main(kills: int, seed: int) -> int:
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aiowatermark-crash-") as folder:
        async with Emulator(restore=False, processing=0.02, credits=10**9) as emulator:
            tally = await harness.rounds(emulator, Path(folder), kills, seed=seed)
    print(f"{tally.kills} kills in {time.monotonic() - started_at:.0f} s, {tally.jobs} jobs:")
    print(f"  {tally.finished} finished, {tally.in_doubt} reported in doubt, {len(tally.wrong)} errors")
    for error in tally.wrong[:20]:
        print("  ERROR:", error)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.kills, options.seed)))
