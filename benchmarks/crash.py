"""Processes killed with SIGKILL at every store transition and at random moments, thousands of times.

    python benchmarks/crash.py [--kills 3000] [--seed 1]

The harness is that of the tests; this is its long run. Exit code 1 if anything was paid twice or is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "recovery")]

import harness  # type: ignore[import-not-found]  # beside the tests

from aiowatermark.emulator import Emulator


async def main(kills: int, seed: int) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aiowatermark-crash-") as folder:
        async with Emulator(restore=False, processing=0.02, credits=10**9) as emulator:
            tally = await harness.rounds(emulator, Path(folder), kills, seed=seed)
    print(f"{tally.kills} kills in {time.monotonic() - began:.0f} s, {tally.jobs} jobs:")
    print(f"  {tally.finished} finished, {tally.in_doubt} reported in doubt, {len(tally.wrong)} wrong")
    for wrong in tally.wrong[:20]:
        print("  WRONG:", wrong)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.kills, given.seed)))
