"""Crash harness: kills and stops workers and their store at any point, and compares charges with what workers report.

The emulator runs in this process and is never killed, so that its charges are the truth. A round is one job of each
of the six flows on a new store, and several slots that work at the same time:

    1. Each slot runs a worker, which asks for all jobs, and is killed, or is stopped and continued.
    2. The next worker of the slot finds what is left, recovers, and asks again for all jobs.
    3. ... until a worker survives and reports for each job: its result, or that it is in doubt.

    slot 0    is killed or stopped at the n-th store transition, n = 0, 1, 2 ... for one worker after another, so that
              every point before and after a write is visited
    others    after random times, RANDOM_FAULTS times

Meanwhile the mode may disturb the store's server. A job is recognised by the size of its image or video, which no other
job has. What is counted (`Tally`):

    finished         a worker got its own result
    in doubt         no worker did, and one was told that the job is in doubt
    charged twice    the emulator has more than one charge for it
    never ended      neither finished nor in doubt when the last worker gave up
    lost             never ended, and charged

In every mode that the documents promise, the last three are 0, and so are `wrong`, sentences about other violations.
They are collected rather than raised, so that a long run shows all of them. Also used by `benchmarks/crash.py`.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg
from tests.support.processes import Running, running_python

from .stores import Mode, StoreFaults
from .worker import FLOWS

FIRST_SIZE = 2000
"""Bytes of the first job's image; each further job's is one byte larger."""
MAX_WORKERS = 300
"""A round ends within this many workers of one slot: fewer transitions are needed for its jobs."""
RANDOM_FAULTS = 12
"""Workers of a slot that are killed or stopped at random times in one round."""
PATIENCE = 45.0
"""Seconds in which a worker that is not killed must see the end of every job."""


@define
class Tally:
    """Counts over all rounds; `wrong` holds a sentence for each violation that the counts do not tell."""

    kills: int = 0
    stops: int = 0
    server_faults: int = 0
    jobs: int = 0
    finished: int = 0
    in_doubt: int = 0
    charged_twice: int = 0
    never_ended: int = 0
    lost: int = 0
    wrong: list[str] = field(factory=list)

    @property
    def violations(self) -> int:
        return self.charged_twice + self.never_ended + self.lost + len(self.wrong)

    def add(self, other: Tally) -> None:
        """Add the counts of another run."""
        for name in Tally.__slots__:
            if name != "__weakref__":
                setattr(self, name, getattr(self, name) + getattr(other, name))


@frozen
class Settings:
    """How much a run does: its rounds, the slots in each, and the seconds for which a worker may be stopped."""

    rounds: int
    slots: int = 2
    stop_seconds: tuple[float, float] = (0.4, 1.2)
    seed: int = 1


@frozen
class Fault:
    """What happens to a worker: a signal at its n-th transition or after some seconds; continued after `stopped`."""

    signal: int = signal.SIGKILL
    at: int | None = None
    after: float | None = None
    stopped: float = 0.0


NO_FAULT = Fault()


class ForkServer:
    """The running fork server: starts workers and passes signals to them."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._numbers = count()
        self._ends: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def run_worker(self, task: dict[str, Any], fault: Fault) -> dict[str, Any]:
        """Run a worker with its fault until it ends; `report` is None if it was killed before it was done."""
        number, end = next(self._numbers), asyncio.get_running_loop().create_future()
        self._ends[number] = end
        self._write(id=number, task=task | {"at": fault.at, "signal": int(fault.signal)})
        faulting = asyncio.create_task(self._apply(number, fault))
        try:
            return await end
        finally:
            faulting.cancel()

    async def _apply(self, number: int, fault: Fault) -> None:
        if fault.after is not None:
            await asyncio.sleep(fault.after)
            self._write(id=number, signal=int(fault.signal))
        while fault.signal == signal.SIGSTOP:
            # again and again: where it stops itself, the moment is not known, and one that runs ignores it
            await asyncio.sleep(fault.stopped)
            self._write(id=number, signal=int(signal.SIGCONT))

    def _write(self, **command: Any) -> None:
        self._running.write_line(json.dumps(command))

    async def read_ends(self) -> None:
        """Tell those who wait for workers that these have ended."""
        while line := await self._running.read_line():
            answer = json.loads(line)
            self._ends.pop(answer["id"]).set_result(answer)


@asynccontextmanager
async def start_fork_server() -> AsyncIterator[ForkServer]:
    """Start the fork server; kill it, and what still runs, at the end."""
    # development mode would slow the children down
    async with running_python("-m", f"{__package__}.fork_server", variables={"PYTHONDEVMODE": ""}) as running:
        server = ForkServer(running)
        reading = asyncio.create_task(server.read_ends())
        try:
            yield server
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@define
class Run:
    """One run of a mode."""

    emulator: Emulator
    server: ForkServer
    mode: Mode
    store: StoreFaults
    settings: Settings
    rng: random.Random
    tally: Tally = field(factory=Tally)

    async def round(self, number: int) -> None:
        """Run one round and count what became of its jobs."""
        jobs = [self._job(number, index, flow) for index, flow in enumerate(FLOWS)]
        task = {
            "store": self.store.description(number),
            "base_url": self.emulator.base_url,
            "keys": self.emulator.keys,
            "jobs": jobs,
            "patience": PATIENCE,
        }
        disturbing = asyncio.create_task(self._disturb())
        try:
            reports = await asyncio.gather(*(self._run_slot(slot, number, task) for slot in range(self.settings.slots)))
        finally:
            disturbing.cancel()
            await asyncio.gather(disturbing, return_exceptions=True)
        for job in jobs:
            self._count(job, [report[job["key"]] for report in reports])

    def _job(self, number: int, index: int, flow: str) -> dict[str, Any]:
        size = FIRST_SIZE + number * len(FLOWS) + index
        job = {"flow": flow, "key": f"r{number}-{flow.replace(' ', '-')}", "size": size}
        if flow == "photoeraser":
            # a batch, recognised by its first image
            images = (make_jpeg(300, 300, size - len(make_jpeg())), make_jpeg(300, 300))
            job["urls"] = [self.emulator.host(image) for image in images]
        return job

    async def _disturb(self) -> None:
        for _ in range(self.mode.faults_per_round):
            await asyncio.sleep(self.rng.uniform(0.1, 1.0))
            await self.store.disturb(self.rng)
            self.tally.server_faults += 1

    async def _run_slot(self, slot: int, number: int, task: dict[str, Any]) -> dict[str, int | str]:
        """Run worker after worker until one survives; return its report."""
        for attempt in range(MAX_WORKERS):
            fault = self._fault(slot, number, attempt)
            answer = await self.server.run_worker(task, fault)
            self.tally.kills += answer["killed"]
            self.tally.stops += fault.signal == signal.SIGSTOP
            if answer["report"] is not None:
                report: dict[str, int | str] = answer["report"]
                return report
            # a worker without a report was killed; anything else is a bug in the test
            assert answer["killed"], answer
        raise AssertionError("a round did not end")

    def _fault(self, slot: int, number: int, attempt: int) -> Fault:
        if not self.mode.worker_faults or (slot and attempt >= RANDOM_FAULTS):
            return NO_FAULT
        stops = self.rng.random() < (0.3 if slot else 0.1)
        number_, stopped = (signal.SIGSTOP, self.rng.uniform(*self.settings.stop_seconds)) if stops else (signal.SIGKILL, 0)
        if slot == 0:
            return Fault(number_, at=attempt, stopped=stopped)
        return Fault(number_, after=self.rng.uniform(0.001, 0.12), stopped=stopped)

    def _count(self, job: dict[str, Any], outcomes: list[int | str]) -> None:
        tally = self.tally
        tally.jobs += 1
        tally.wrong += [f"{job['key']}: {outcome}" for outcome in outcomes if str(outcome).startswith("wrong")]
        sizes = {outcome for outcome in outcomes if isinstance(outcome, int)}
        if sizes:
            tally.finished += 1
            if sizes != {job["size"]}:
                tally.wrong.append(f"{job['key']} has another job's result: {sizes}, not {job['size']}")
        elif "in doubt" in outcomes:
            tally.in_doubt += 1
        else:
            tally.never_ended += 1
            tally.wrong += [f"{job['key']}: {outcome}" for outcome in outcomes]
            tally.lost += self._charges()[job["size"]] > 0

    def _charges(self) -> Counter[int]:
        """The number of charges by size of the job's image."""
        return Counter(task.outputs[0].size for task in self.emulator.tasks if task.outputs for _ in range(task.charges))

    def check_charges(self) -> None:
        """Count the jobs that were charged twice, after all rounds."""
        charges = self._charges()
        twice = [size for size, charged in charges.items() if charged > 1]
        self.tally.charged_twice = len(twice)
        self.tally.wrong += [f"{_name(size)} was charged {charges[size]} times" for size in twice]
        if self.tally.finished > sum(charges.values()):
            self.tally.wrong.append(f"{self.tally.finished} jobs finished, but {sum(charges.values())} were charged")


def _name(size: int) -> str:
    number, index = divmod(size - FIRST_SIZE, len(FLOWS))
    return f"the job {FLOWS[index]} of round {number}"


async def run_mode(mode: Mode, folder: Path, settings: Settings) -> Tally:
    """Run rounds in one mode, with a new emulator and a new store server; files go to `folder`."""
    rng = random.Random(settings.seed)  # noqa: S311 - times, not secrets
    async with (
        Emulator(restore=False, processing=0.02, credits=10**9) as emulator,
        start_fork_server() as server,
        mode.open(folder) as store,
    ):
        run = Run(emulator, server, mode, store, settings, rng)
        for number in range(settings.rounds):
            await run.round(number)
        run.check_charges()
    return run.tally
