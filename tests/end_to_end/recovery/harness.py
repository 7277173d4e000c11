"""Kills processes in the middle of their work, many times, and counts what was paid."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from aiowatermark.emulator import Emulator

ROOT = Path(__file__).parents[3]
FIRST_SIZE = 1000


@define
class Tally:
    """What came of it, over all rounds."""

    kills: int = 0
    jobs: int = 0
    finished: int = 0
    in_doubt: int = 0
    wrong: list[str] = field(factory=list)


class Zygote:
    """The process that forks children; one at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, **task: Any) -> dict[str, Any]:
        """One child's life; its `said` is None where it was killed before it was done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 120)
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    """A process that forks children."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("fork_server.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONDEVMODE": ""},
    )
    try:
        yield Zygote(process)
    finally:
        process.kill()
        await process.wait()


async def rounds(emulator: Emulator, folder: Path, kills: int, *, seed: int, jobs: int = 4) -> Tally:
    """Rounds of jobs, each killed at every store transition or at random moments until `kills` are done."""
    tally, chance = Tally(), random.Random(seed)  # noqa: S311 - moments, not secrets
    key = emulator.keys["gptge"]
    async with zygote() as children:
        for number in range(kills):
            if tally.kills >= kills:
                break
            names = {f"r{number}-{n}": FIRST_SIZE + number * jobs + n for n in range(jobs)}
            store = str(folder / f"jobs-{number}.db")
            common = {"store": store, "base_url": emulator.base_url, "key": key, "jobs": names}
            said = await _killed_until_done(children, common, tally, chance, steps=number % 2 == 0)
            _judge(tally, names, said)
    paid = Counter(_size(task) for task in emulator.tasks for _ in range(task.charges))
    tally.wrong += [f"{size} bytes were paid {times} times" for size, times in paid.items() if times > 1]
    tally.wrong += [f"{tally.finished} finished and {sum(paid.values())} paid"] * (tally.finished > sum(paid.values()))
    return tally


async def _killed_until_done(
    children: Zygote, common: dict[str, Any], tally: Tally, chance: random.Random, *, steps: bool
) -> dict[str, Any]:
    """One round: killed at transition after transition, or at moments, until a child lives to its end."""
    for attempt in range(200):
        die_at = attempt if steps else None
        die_after = None if steps or attempt > 25 else chance.uniform(0.001, 0.12)
        answer = await children.run(**common, die_at=die_at, die_after=die_after)
        tally.kills += answer["killed"]
        if answer["said"] is not None:
            said: dict[str, Any] = answer["said"]
            return said
        assert answer["killed"], answer
    raise AssertionError("a round did not end")


def _judge(tally: Tally, names: dict[str, int], said: dict[str, Any]) -> None:
    finished, doubted = said["finished"], set(said["in_doubt"])
    tally.jobs += len(names)
    tally.finished += len(finished)
    tally.in_doubt += len(doubted)
    for name, size in names.items():
        if name not in doubted and finished.get(name) != size:
            tally.wrong.append(f"{name} is missing: {finished.get(name)}")


def _size(task: Any) -> int:
    """Which job a task is: the size of its picture."""
    size: int = task.outputs[0].stored.size
    return size
