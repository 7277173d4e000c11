"""Kill test harness: kills clients at every point of their work and compares what was charged with what they report.

The emulator runs in this process and is never killed, so that its charges are the truth. The clients run in children
of the fork server. A round is four jobs on a new SQLite store:

    1. A child submits the four jobs and is killed.
    2. The next child finds the same store, recovers, submits again with the same keys, and is killed a little later.
    3. ... until a child survives and reports for each job: its result, or that it is in doubt.

Even rounds kill at the n-th store transition, n = 0, 1, 2 ... for one child after another, so that every point before
and after a write is visited. Odd rounds kill after a random time of 1 to 120 ms, 26 times at most, and then let the
next child finish. Rounds follow until the requested number of kills is reached.

A job is recognised by the size of its image, which no other job has. After all rounds must hold:

    no size was charged more than once                     (at most one charge per job)
    every job finished with its own result, or is in doubt (accepted jobs are never lost)
    not more jobs finished than were charged

Violations are collected in `Tally.wrong` rather than raised, so that a long run shows all of them. Also used by
`benchmarks/crash.py`, with thousands of kills.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from aiowatermark.emulator import EmulatedTask, Emulator
from tests.support.processes import Running, running_python

# bytes; the first job's image, each further job's is one byte larger
FIRST_SIZE = 1000
# a round ends within this many children: fewer transitions are needed for four jobs
MAX_CHILDREN = 200
# children that are killed at random times in one round
MAX_RANDOM_KILLS = 26


@define
class Tally:
    """Counts over all rounds; `wrong` holds a sentence for each violation."""

    kills: int = 0
    jobs: int = 0
    finished: int = 0
    in_doubt: int = 0
    wrong: list[str] = field(factory=list)


class ForkServer:
    """The running fork server; runs one child at a time."""

    def __init__(self, running: Running) -> None:
        self._running = running

    async def run_child(self, **task: Any) -> dict[str, Any]:
        """Run a child and return its answer; `report` is None if it was killed before it was done."""
        self._running.write_line(json.dumps(task))
        answer: dict[str, Any] = json.loads(await self._running.read_line())
        return answer


@asynccontextmanager
async def start_fork_server() -> AsyncIterator[ForkServer]:
    """Start the fork server; kill it at the end."""
    # development mode would slow the children down
    async with running_python(Path(__file__).with_name("fork_server.py"), variables={"PYTHONDEVMODE": ""}) as running:
        yield ForkServer(running)


async def rounds(emulator: Emulator, folder: Path, kills: int, *, seed: int, jobs: int = 4) -> Tally:
    """Run rounds of `jobs` jobs, with stores in `folder`, until `kills` processes were killed."""
    tally, rng = Tally(), random.Random(seed)  # noqa: S311 - times, not secrets
    key = emulator.keys["gptge"]
    async with start_fork_server() as server:
        # an upper bound on the rounds: a round kills several children
        for number in range(kills):
            if tally.kills >= kills:
                break
            sizes = {f"r{number}-{n}": FIRST_SIZE + number * jobs + n for n in range(jobs)}
            store = str(folder / f"jobs-{number}.db")
            task = {"store": store, "base_url": emulator.base_url, "key": key, "jobs": sizes}
            report = await _kill_until_done(server, task, tally, rng, at_transitions=number % 2 == 0)
            _check_report(tally, sizes, report)
    charges = Counter(_image_size(task) for task in emulator.tasks for _ in range(task.charges))
    tally.wrong += [f"{size} bytes were charged {count} times" for size, count in charges.items() if count > 1]
    if tally.finished > sum(charges.values()):
        tally.wrong.append(f"{tally.finished} jobs finished, but {sum(charges.values())} were charged")
    return tally


async def _kill_until_done(
    server: ForkServer, task: dict[str, Any], tally: Tally, rng: random.Random, *, at_transitions: bool
) -> dict[str, Any]:
    """Run one round: kill child after child until one survives, and return its report."""
    for attempt in range(MAX_CHILDREN):
        die_at = attempt if at_transitions else None
        die_after = None if at_transitions or attempt >= MAX_RANDOM_KILLS else rng.uniform(0.001, 0.12)
        answer = await server.run_child(**task, die_at=die_at, die_after=die_after)
        tally.kills += answer["killed"]
        if answer["report"] is not None:
            report: dict[str, Any] = answer["report"]
            return report
        # a child without a report was killed; anything else is a bug in the test
        assert answer["killed"], answer
    raise AssertionError("a round did not end")


def _check_report(tally: Tally, sizes: dict[str, int], report: dict[str, Any]) -> None:
    finished, in_doubt = report["finished"], set(report["in_doubt"])
    tally.jobs += len(sizes)
    tally.finished += len(finished)
    tally.in_doubt += len(in_doubt)
    for key, size in sizes.items():
        if key not in in_doubt and finished.get(key) != size:
            tally.wrong.append(f"{key} is missing: {finished.get(key)}")


def _image_size(task: EmulatedTask) -> int:
    """The size of a task's image, which tells which job it is; the emulator returns images unchanged here."""
    stored = task.outputs[0].stored
    assert stored is not None
    return stored.size
