"""Crash test: workers and store servers are killed and stopped at any moment; none may be charged twice, none lost.

    python benchmarks/crash.py [--minutes 10] [--mode sqlite --mode "redis always" …] [--seed 1]

Runs each mode in turn, with new seeds, until the time is over; by default all modes. What a mode is and what is counted
is described in tests/end_to_end/recovery (harness.py, stores.py). Workers are stopped for 1 to 30 seconds.

Exits with 1 if in a mode that the documents promise a job was charged twice, was lost or never ended.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.end_to_end.recovery import harness
from tests.end_to_end.recovery.stores import MODES

ROUNDS = 3
COLUMNS = ["jobs", "kills", "stops", "server_faults", "finished", "in_doubt", "charged_twice", "lost", "never_ended"]


async def main(minutes: float, names: list[str], seed: int) -> int:
    until = time.monotonic() + 60 * minutes
    tallies = {name: harness.Tally() for name in names}
    for run in count():
        if time.monotonic() >= until:
            break
        name = names[run % len(names)]
        # most stops are short, so that the time is spent on many of them
        longest = random.Random(seed + run).choice([1.5, 1.5, 1.5, 3.0, 5.0, 30.0])
        settings = harness.Settings(ROUNDS, slots=3, stop_seconds=(1.0, longest), seed=seed + run)
        with tempfile.TemporaryDirectory(prefix="aiowatermark-crash-") as folder:
            tallies[name].add(await harness.run_mode(MODES[name], Path(folder), settings))
        print_row(name, tallies[name])
    print("\n" + "".ljust(28) + " ".join(column.rjust(13) for column in COLUMNS))
    for name, tally in tallies.items():
        print_row(name, tally)
        for text in (tally.wrong + tally.details)[:20]:
            print("   ", text)
    return int(any(tally.violations for name, tally in tallies.items() if MODES[name].promised))


def print_row(name: str, tally: harness.Tally) -> None:
    print(name.ljust(28) + " ".join(str(getattr(tally, column)).rjust(13) for column in COLUMNS), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--mode", action="append", choices=MODES, help="may be repeated; default: all modes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.minutes, options.mode or list(MODES), options.seed)))
