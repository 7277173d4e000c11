"""Crash harness: kills and stops workers and their store at any point, and compares charges with what workers report.

The emulator runs in this process and is never killed, so that its charges are the truth. A round is one job of each
of the six flows on a new store, and several slots that work at the same time:

    1. Each slot runs a worker, which asks for all jobs, and is killed, or is stopped and continued.
    2. The next worker of the slot finds what is left, recovers, and asks again for all jobs.
    3. ... until a worker survives and reports for each job: its result, or that it is in doubt.

    slot 0    is killed or stopped at the n-th store transition, n = 0, 1, 2 ... for one worker after another, so that
              every point before and after a write is visited
    others    after random times, RANDOM_FAULTS times

Meanwhile the store's server may fail, as the mode says (stores.py). Where it then forgets and workers are spared, all
slots have random times, no signal is sent while the server forgets, and workers stay until its last failure. A job is
recognised by the size of its image or video, which no other job has. What is counted (`Tally`):

    finished         a worker got its own result
    in doubt         no worker did, and one was told that the job is in doubt
    charged twice    the emulator has more than one charge for it
    never ended      a worker saw neither in PATIENCE seconds
    lost             no worker saw either, and it is charged

In every mode that the documents promise, the last three are 0, and so are `wrong`, sentences about other violations.
They are collected rather than raised, so that a long run shows all of them. Also used by `benchmarks/crash.py`.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field, fields, frozen

from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg
from tests.support.processes import Running, running_python
from tests.support.waiting import wait_until

from .stores import LONG_LEASE, MEMORY, Mode, StoreFaults
from .worker import FLOWS

FIRST_SIZE = 2000
"""Bytes of the first job's image; each further job's is one byte larger."""
MAX_WORKERS = 300
"""A round ends within this many workers of one slot: fewer transitions are needed for its jobs."""
RANDOM_FAULTS = 12
"""Workers of a slot that are killed or stopped at random times in one round."""
PATIENCE = 45.0
"""Seconds in which a worker that is not killed must see the end of every job."""
WRITE_BACK = 1.5 * LONG_LEASE
"""Seconds in which living workers notice that the server has forgotten, and write their records back."""


@define
class Tally:
    """Counts over all rounds; `wrong` are violations that the counts do not tell, `details` those that they do."""

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
    details: list[str] = field(factory=list)

    @property
    def violations(self) -> int:
        return self.charged_twice + self.never_ended + self.lost + len(self.wrong)

    def add(self, other: Tally) -> None:
        """Add the counts of another run."""
        for each in fields(Tally):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@frozen
class Settings:
    """How much a run does: its rounds, the slots in each, and the seconds for which a worker may be stopped."""

    rounds: int
    slots: int = 2
    stop_seconds: tuple[float, float] = (0.4, 1.2)
    seed: int = 1


@frozen
class Fault:
    """What happens to a worker: a signal at its n-th transition or after some seconds; continued after `stopped`.

    One that is continued is killed `killed_after` seconds later, unless that is None.
    """

    signal: int = signal.SIGKILL
    at: int | None = None
    after: float | None = None
    stopped: float = 0.0
    killed_after: float | None = None


NO_FAULT = Fault()


class ForkServer:
    """The running fork server: starts workers and passes signals to them."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._numbers = count()
        self.stopped: set[int] = set()
        self._ends: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def run_worker(self, task: dict[str, Any], fault: Fault, calm: asyncio.Event) -> dict[str, Any]:
        """Run a worker until it ends; `report` is None if it was killed before it was done.

        A fault at a time, not at a transition, waits until `calm` is set.
        """
        number = next(self._numbers)
        end: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._ends[number] = end
        self._write(id=number, task=task | {"at": fault.at, "signal": int(fault.signal)})
        faulting = asyncio.create_task(self._apply(number, fault, calm))
        try:
            return await end
        finally:
            faulting.cancel()

    async def _apply(self, number: int, fault: Fault, calm: asyncio.Event) -> None:
        if fault.after is not None:
            await asyncio.sleep(fault.after)
            await calm.wait()
            self._write(id=number, signal=int(fault.signal))
        if fault.killed_after is not None:
            await self._continue_and_kill(number, fault, fault.killed_after, calm)
        while fault.signal == signal.SIGSTOP:
            # again and again: where it stops itself, the moment is not known, and one that runs ignores it
            await asyncio.sleep(fault.stopped)
            self._write(id=number, signal=int(signal.SIGCONT))

    async def _continue_and_kill(self, number: int, fault: Fault, seconds: float, calm: asyncio.Event) -> None:
        self.stopped.add(number)
        await asyncio.sleep(fault.stopped)
        self._write(id=number, signal=int(signal.SIGCONT))
        self.stopped.discard(number)
        await asyncio.sleep(seconds)
        await calm.wait()
        self._write(id=number, signal=int(signal.SIGKILL))

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
    async with running_python("-m", f"{__package__}.fork_server") as running:
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
    folder: Path
    tally: Tally = field(factory=Tally)
    calm: asyncio.Event = field(factory=asyncio.Event)

    async def round(self, number: int) -> None:
        """Run one round and count what became of its jobs."""
        jobs = [self._job(number, index) for index in range(self._jobs_per_round)]
        done = self.folder / f"round-{number}-done"
        self.calm.set()
        task = {
            "store": self.store.description(number),
            "base_url": self.emulator.base_url,
            "keys": self.emulator.keys,
            "jobs": jobs,
            "patience": PATIENCE + 2 * self.settings.stop_seconds[1],
            "stay_until": str(done) if self.mode.spares_workers else None,
        }
        disturbing = asyncio.create_task(self._disturb(done))
        try:
            # alone, a worker has all its transitions; among others, most have been made when it is continued
            slots = 1 if number % 3 == 2 and not self.mode.spares_workers else self.settings.slots
            reports = await asyncio.gather(*(self._run_slot(slot, number, task) for slot in range(slots)))
        finally:
            disturbing.cancel()
            await asyncio.gather(disturbing, return_exceptions=True)
        for job in jobs:
            self._count(job, [report[job["key"]] for slot in reports for report in slot])

    @property
    def _jobs_per_round(self) -> int:
        return len(FLOWS) * self.mode.jobs_per_flow

    def _job(self, number: int, index: int) -> dict[str, Any]:
        flow, size = FLOWS[index % len(FLOWS)], FIRST_SIZE + number * self._jobs_per_round + index
        job = {"flow": flow, "key": f"r{number}-{index}-{flow.replace(' ', '-')}", "size": size}
        if flow == "photoeraser":
            # a batch, recognised by its first image
            images = (make_jpeg(300, 300, size - len(make_jpeg())), make_jpeg(300, 300))
            job["urls"] = [self.emulator.host(image) for image in images]
        return job

    async def _disturb(self, done: Path) -> None:
        """Let the server fail; then create the file `done`."""
        for _ in range(self.mode.per_round):
            await asyncio.sleep(self.rng.uniform(0.5, 2.5) if self.mode.forgets else self.rng.uniform(0.1, 1.0))
            if self.mode.spares_workers:
                self.calm.clear()
                await wait_until(lambda: not self.server.stopped, self.settings.stop_seconds[1] + PATIENCE)
                await asyncio.sleep(MEMORY if self.mode.worker_faults else 0.0)
            await self.store.disturb(self.rng)
            self.tally.server_faults += 1
            if self.mode.spares_workers:
                await asyncio.sleep(WRITE_BACK)
                self.calm.set()
        # workers that end now are followed by others, which know only what is in the store
        await asyncio.sleep(2.0 if self.mode.forgets else 0.0)
        done.touch()

    async def _run_slot(self, slot: int, number: int, task: dict[str, Any]) -> list[dict[str, int | str]]:
        """Run worker after worker until one survives its fault; return what they reported."""
        reports: list[dict[str, int | str]] = []
        # where the server forgets, each slot asks for each job at another time of the round
        seconds = self.mode.per_round * 6.0 if self.mode.forgets else 0.0
        begins = [time.monotonic() + self.rng.uniform(0.0, seconds) for _ in task["jobs"]]
        task = task | {"jobs": [job | {"begin": begin} for job, begin in zip(task["jobs"], begins, strict=True)]}
        for attempt in range(MAX_WORKERS):
            fault = self._fault(slot, number, attempt)
            answer = await self.server.run_worker(task, fault, self.calm)
            self.tally.kills += answer["killed"]
            self.tally.stops += fault.signal == signal.SIGSTOP
            # a worker without a report was killed; anything else is a bug in the test
            assert answer["killed"] or answer["report"] is not None, answer
            if answer["report"] is not None:
                reports.append(answer["report"])
                if fault.signal == signal.SIGKILL:
                    return reports
        raise AssertionError("a round did not end")

    def _fault(self, slot: int, number: int, attempt: int) -> Fault:
        at_transition = slot == 0 and not self.mode.spares_workers
        faults = RANDOM_FAULTS * (3 if self.mode.forgets else 1)  # those rounds take longer
        if not self.mode.worker_faults or (not at_transition and attempt >= faults):
            return NO_FAULT
        is_stop = self.rng.random() < (0.1 if at_transition else 0.3)
        kind, stopped = signal.SIGKILL, 0.0
        if is_stop:
            kind, stopped = signal.SIGSTOP, self.rng.uniform(*self.settings.stop_seconds)
        if at_transition:
            return Fault(kind, at=attempt, stopped=stopped)
        after = self.rng.uniform(0.001, 0.8 if self.mode.forgets else 0.12)
        # a worker that survives stays in these rounds
        killed_after = after if is_stop and self.mode.spares_workers else None
        return Fault(kind, after=after, stopped=stopped, killed_after=killed_after)

    def _count(self, job: dict[str, Any], outcomes: list[int | str]) -> None:
        tally, sizes = self.tally, {outcome for outcome in outcomes if isinstance(outcome, int)}
        texts = [str(outcome) for outcome in outcomes if not isinstance(outcome, int)]
        tally.jobs += 1
        tally.wrong += [f"{job['key']}: {text}" for text in texts if text.startswith("wrong")]
        if sizes - {job["size"]}:
            tally.wrong.append(f"{job['key']} has another job's result: {sizes}, not {job['size']}")
        tally.finished += bool(sizes)
        tally.in_doubt += not sizes and "in doubt" in texts
        gave_up = [text for text in texts if text.startswith("never ended")]
        tally.never_ended += bool(gave_up)
        tally.details += [f"{job['key']}: {text}" for text in gave_up]
        tally.lost += not sizes and "in doubt" not in texts and self._charges()[job["size"]] > 0

    def _charges(self) -> Counter[int]:
        """The number of charges by size of the job's image."""
        return Counter(
            task.outputs[0].size for task in self.emulator.tasks if task.outputs for _ in range(task.charges)
        )

    def check_charges(self) -> None:
        """Count the jobs that were charged twice, after all rounds."""
        charges = self._charges()
        twice = {size: charged for size, charged in charges.items() if charged > 1}
        self.tally.charged_twice = len(twice)
        self.tally.details += [
            f"{self._name(size)} was charged {charged} times: {self._charged_tasks(size)}"
            for size, charged in twice.items()
        ]
        if self.tally.finished > sum(charges.values()):
            self.tally.wrong.append(f"{self.tally.finished} jobs finished, but {sum(charges.values())} were charged")

    def _charged_tasks(self, size: int) -> list[tuple[str, int, float | None]]:
        """The tasks of one job, with the number and the time of their charges."""
        tasks = [task for task in self.emulator.tasks if task.outputs and task.outputs[0].size == size and task.charges]
        return [(task.task_id, task.charges, task.started_at) for task in tasks]

    def _name(self, size: int) -> str:
        number, index = divmod(size - FIRST_SIZE, self._jobs_per_round)
        return f"job {index} ({FLOWS[index % len(FLOWS)]}) of round {number}"


async def run_mode(mode: Mode, folder: Path, settings: Settings) -> Tally:
    """Run rounds in one mode, with a new emulator and a new store server; files go to `folder`."""
    rng = random.Random(settings.seed)  # noqa: S311 - times, not secrets
    async with (
        Emulator(restore=False, processing=mode.processing, credits=10**9) as emulator,
        start_fork_server() as server,
        mode.open(folder) as store,
    ):
        run = Run(emulator, server, mode, store, settings, rng, folder)
        for number in range(settings.rounds):
            await run.round(number)
        run.check_charges()
    return run.tally
