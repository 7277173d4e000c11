"""State machine test: in any order of events, at most one charge per job, one end, nothing lost, nothing left running.

Hypothesis chooses sequences of up to 40 events for two processes on a virtual clock and the model of `fake_world`. Each
process has a client for images (PicWish) and one for videos (Dewatermark); both processes use the same store.

    submit               a job, perhaps with the key of an earlier one, with a fault, with an early callback, or to
                         replace a failure (`again=True`)
    submit_in_both       both processes ask for one key
    die_during_video     a process dies while it uploads or starts a video; the other one asks for it
    wait                 time passes: polls happen, deadlines expire
    finish               a provider completes a task and sends no, one or two callbacks, immediately or later, to any
                         process
    cancel, resume       an awaiter is cancelled; a job is resumed by its token, in any process
    forget               `client.forget` of a key
    jump                 the wall clock jumps by up to a day, forwards or backwards
    die_soon             a process will die at one of its next requests or store calls
    crash_and_restart    a process dies here; a new one recovers from the same store
    crash                a process dies here; a new one starts when something is asked of it
    close_and_restart    the clients of a process are closed properly; new ones recover

A crash is simulated in one process: the dead process's transport and store raise `ProcessDied`, its owners are gone,
and its tasks are cancelled. After each event hold

    nothing_is_paid_twice              no key has more than one charge, and one more each time its job was forgotten
                                       after its end, or its failure replaced on demand
    a_job_goes_forward_and_ends_once   within one epoch the states in the store never go back, and at most one of them
                                       is terminal
    nothing_paid_is_forgotten          each charged job has a record, and none that says "nothing was paid"

and after the last one, with all tasks completed and 1000 seconds passed: each charged job has ended, or was reported
in doubt; no task, slot or unhandled exception is left. A failing sequence is reduced by Hypothesis to a shortest one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import pytest
from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import aiowatermark as aw
from aiowatermark.jobs import Record
from tests.support.virtual_clock import VirtualLoop

from . import fake_world

FAULTS = [
    "none",
    "none",
    "none",
    "none",
    "answer lost",
    "request lost",
    "500 after work",
    "not sent",
    "busy",
    "refused",
]
RUNNING_PROCESS: ContextVar[int | None] = ContextVar("running process", default=None)
PROCESSES = st.integers(0, 1)
KEYS = st.sampled_from(["k0", "k1", "v0", "v1"])


@define(eq=False)
class Worker:
    """One process with its clients, by the first letter of their keys, and those who await its jobs."""

    process: fake_world.Process
    receiver: aw.CallbackReceiver
    clients: dict[str, aw.Client]
    awaiters: list[asyncio.Task[Any]] = field(factory=list)


class Jobs(RuleBasedStateMachine):
    """A user with two processes on one store, providers that lose answers, and processes that die."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self._on_loop_error(context))
        self.loop.set_task_factory(self._create_task)
        self.process_of: WeakKeyDictionary[asyncio.Task[Any], int | None] = WeakKeyDictionary()
        self.clock_offset = 1.8e9
        self.world = fake_world.World()
        self.workers: dict[int, Worker] = {}
        self.tokens: dict[str, str] = {}
        self.requests: Counter[str] = Counter()
        self.reported_in_doubt: set[str] = set()

    def _create_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **settings: Any) -> asyncio.Task[Any]:
        context = settings.get("context")
        task = asyncio.Task(coroutine, loop=loop, **settings)
        self.process_of[task] = context.get(RUNNING_PROCESS) if context else RUNNING_PROCESS.get()
        return task

    def _on_loop_error(self, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), fake_world.ProcessDied):
            self.problems.append(context)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run the loop until the coroutine ends, with a wall clock that only `jump` and the loop's clock move."""

        def now() -> float:
            return self.clock_offset + self.loop.time()

        with patch.object(time, "time", now), patch.object(time, "time_ns", lambda: int(now() * 1e9)):
            return self.loop.run_until_complete(coroutine)

    def spawn(self, number: int, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task of a process."""
        token = RUNNING_PROCESS.set(number)
        task = self.loop.create_task(coroutine)
        RUNNING_PROCESS.reset(token)
        return task

    def run_in(self, number: int, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine as one of a process; a process that dies meanwhile ends it, and None is returned."""
        task = self.spawn(number, coroutine)
        self.run(asyncio.wait([task]))
        is_dead = task.cancelled() or isinstance(task.exception(), fake_world.ProcessDied)
        return None if is_dead else task.result()

    def _tasks(self, number: int) -> set[asyncio.Task[Any]]:
        return {task for task in asyncio.all_tasks() if self.process_of.get(task) == number}

    # processes

    @initialize()
    def start_all(self) -> None:
        """Both processes start."""
        for number in (0, 1):
            self.run_in(number, self._start(number))

    async def _start(self, number: int) -> None:
        receiver = aw.CallbackReceiver("https://hooks.example/wm")
        process = fake_world.Process(self.world, receiver)
        providers: dict[str, aw.Provider] = {
            "k": aw.PicWish("canary-1", requests_per_second=None),
            "v": fake_world.FakeDewatermark("canary-1"),
        }
        clients = {
            letter: aw.Client(provider, transport=process, store=process, callbacks=receiver, deadline=500, drain=1.0)
            for letter, provider in providers.items()
        }
        worker = self.workers[number] = Worker(process, receiver, clients)
        for client in clients.values():
            await client.__aenter__()
            recovery = await client.recover()
            for record in recovery.in_doubt:
                if await self._owner_gave_up(record):
                    self.reported_in_doubt.add(record.key)
            worker.awaiters += [self.spawn(number, self._await(handle.key, handle)) for handle in recovery.resumed]

    async def _owner_gave_up(self, record: Record) -> bool:
        """Whether the answer to the paid request is not awaited any more."""
        return not record.answer_pending or await self.world.store.owners.is_gone(record)

    async def _crash(self, number: int) -> None:
        worker = self.workers.pop(number)
        await worker.process.die()
        tasks = self._tasks(number)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self, number: int) -> None:
        worker = self.workers[number]
        # a process that is about to die would die while closing
        if worker.process.dead or worker.process.crash_at is not None:
            return await self._crash(number)
        for client in worker.clients.values():
            engine = client._state.engine
            await client.__aexit__()
            assert engine is not None
            assert engine.jobs == {}
            assert engine.admission.free_slots == client.limits.in_flight
            assert engine.submitter.slots.local._value == client.limits.submissions
        await asyncio.gather(*worker.awaiters, return_exceptions=True)
        assert self._tasks(number) == set()
        del self.workers[number]
        return None

    def alive(self, number: int) -> Worker:
        """A process, started anew if it has died."""
        if number in self.workers and self.workers[number].process.dead:
            self.crash(number)
        if number not in self.workers:
            self.run_in(number, self._start(number))
        return self.workers[number]

    @rule(number=PROCESSES, steps=st.integers(0, 20))
    def die_soon(self, number: int, steps: int) -> None:
        """A process will die at one of its next steps."""
        self.alive(number).process.crash_at = steps

    @rule(number=PROCESSES)
    def crash(self, number: int) -> None:
        """A process dies here, and no other takes its place until something is asked of it."""
        if number in self.workers:
            self.run(self._crash(number))

    @rule(number=PROCESSES)
    def crash_and_restart(self, number: int) -> None:
        """A process dies here; another one starts on the same store."""
        self.crash(number)
        self.alive(number)

    @rule(number=PROCESSES)
    def close_and_restart(self, number: int) -> None:
        """The clients of a process are closed properly; others start."""
        if number in self.workers:
            self.run(self._close(number))
        self.alive(number)

    # jobs

    async def _await(self, key: str, handle: aw.JobHandle) -> None:
        try:
            await handle
        except aw.SubmissionInDoubt:
            self.reported_in_doubt.add(key)
        except aw.WatermarkError:
            pass

    async def _remove(self, client: aw.Client, key: str, deadline: float, *, again: bool) -> None:
        number = int(key[1:])
        media = fake_world.link(number) if key[0] == "k" else fake_world.video(number)
        try:
            handle = await client.submit(media, key=key, deadline=deadline, again=again)
            self.tokens[key] = handle.token
            await handle
        except aw.SubmissionInDoubt as error:
            assert error.token is not None
            self.tokens[key] = error.token
            self.reported_in_doubt.add(key)
        except aw.DeadlineExceeded as error:
            assert error.token is not None
        except aw.WatermarkError:
            pass

    @rule(
        number=PROCESSES,
        key=KEYS,
        fault=st.sampled_from(FAULTS),
        early=st.booleans(),
        deadline=st.sampled_from([1.0, 40.0, 400.0]),
        again=st.booleans(),
        wait=st.sampled_from([0.0, 0.005, 0.015, 0.5]),
    )
    def submit(  # noqa: PLR0917 - Hypothesis passes names
        self, number: int, key: str, fault: str, early: bool, deadline: float, again: bool, wait: float
    ) -> None:
        """Submit a job, perhaps one of an earlier key, perhaps with a lost answer or an early callback."""
        worker = self.alive(number)
        worker.process.fault, worker.process.early = fault, early
        self.requests[key] += again
        worker.awaiters.append(self.spawn(number, self._remove(worker.clients[key[0]], key, deadline, again=again)))
        self.run(asyncio.sleep(wait))

    @rule(number=PROCESSES, key=KEYS, fault=st.sampled_from(FAULTS), again=st.booleans())
    def submit_in_both(self, number: int, key: str, fault: str, again: bool) -> None:
        """Both processes ask for one key at once."""
        for each in (number, 1 - number):
            self.submit(each, key, fault, False, 400.0, again, 0.0)
        self.run(asyncio.sleep(0.05))

    @rule(number=PROCESSES, key=st.sampled_from(["v0", "v1"]), seconds=st.sampled_from([0.5, 2.02, 2.035, 2.5]))
    def die_during_video(self, number: int, key: str, seconds: float) -> None:
        """A process dies while it uploads a video, or starts it, and the other one asks for the same key."""
        self.submit(number, key, "none", False, 400.0, False, seconds)
        self.crash(number)
        self.submit(1 - number, key, "none", False, 400.0, False, 0.5)

    @rule(seconds=st.sampled_from([0.01, 1.0, 35.0, 700.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: polls happen, deadlines expire."""
        self.run(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([-86_400.0, -5.0, 5.0, 86_400.0]))
    def jump(self, seconds: float) -> None:
        """The wall clock jumps."""
        self.clock_offset += seconds

    @precondition(lambda self: self.world.tasks)
    @rule(data=st.data(), failed=st.booleans(), calls=st.integers(0, 2), late=st.booleans(), number=PROCESSES)
    def finish(self, data: st.DataObject, failed: bool, calls: int, late: bool, number: int) -> None:
        """A provider completes a task and calls back never, once or twice, immediately or later."""
        task = self.world.tasks[data.draw(st.sampled_from(sorted(self.world.tasks)))]
        if task.started:
            task.state = task.state or (-1 if failed else 1)
            self.run(self._call_back(task, calls, 60.0 if late else 0.0, number))

    async def _call_back(self, task: fake_world.FakeTask, calls: int, delay: float, number: int) -> None:
        await asyncio.sleep(delay)
        if task.callback_key is None or number not in self.workers:
            return
        receiver = self.workers[number].receiver
        for _ in range(calls):
            delivering = self.spawn(number, receiver.receive(task.callback_key, self.world.delivery(task)))
            await asyncio.wait([delivering])
            if not isinstance(delivering.exception(), fake_world.ProcessDied):
                assert delivering.result() in {200, 404}

    @rule(data=st.data(), number=PROCESSES)
    def cancel(self, data: st.DataObject, number: int) -> None:
        """An awaiter is cancelled."""
        worker = self.workers.get(number)
        if worker is not None and worker.awaiters:
            data.draw(st.sampled_from(worker.awaiters)).cancel()
            self.run(asyncio.sleep(0))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), number=PROCESSES)
    def resume(self, data: st.DataObject, number: int) -> None:
        """A job is resumed by its token."""
        key = data.draw(st.sampled_from(sorted(self.tokens)))
        worker = self.alive(number)
        worker.awaiters.append(self.spawn(number, self._resume(worker.clients[key[0]], key)))
        self.run(asyncio.sleep(0))

    async def _resume(self, client: aw.Client, key: str) -> None:
        await self._await(key, client.resume(self.tokens[key], deadline=30))

    @rule(number=PROCESSES, key=KEYS)
    def forget(self, number: int, key: str) -> None:
        """What is known of a job is deleted, if that is allowed."""
        worker = self.alive(number)
        self.requests[key] += 1
        self.run_in(number, self._forget(worker.clients[key[0]], key))

    async def _forget(self, client: aw.Client, key: str) -> None:
        try:
            if await client.forget(key):
                self.tokens.pop(key, None)
        except aw.InvalidInput:
            pass

    # what must hold

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        world = self.world
        for key, charges in world.charges.items():
            assert charges - world.charges_before[key] <= 1, key
            assert charges <= 1 + world.renewals[key], key
            assert world.renewals[key] <= self.requests[key], key

    @invariant()
    def a_job_goes_forward_and_ends_once(self) -> None:
        for states in self.world.history.values():
            for epoch in {state.epoch for state in states}:
                mine = [state for state in states if state.epoch == epoch]
                ranks = [state.rank for state in mine]
                assert ranks == sorted(ranks), mine
                assert len({state.status for state in mine if state.status.terminal}) <= 1, mine

    @invariant()
    def nothing_paid_is_forgotten(self) -> None:
        world = self.world
        for key, charges in world.charges.items():
            if charges > world.charges_before[key]:
                assert world.history.get(key), key
                assert world.history[key][-1].status is not aw.Status.UPLOADING, key

    def teardown(self) -> None:
        """Restart, complete all tasks, wait and close; then every charged job has ended or was reported in doubt."""
        try:
            for number in (0, 1):
                self.close_and_restart(number)
            for task in self.world.tasks.values():
                task.state = task.state or 1
            self.run(asyncio.sleep(1000))
            for number in (0, 1):
                self.run(self._close(number))
            self._check_every_charge()
        finally:
            self.loop.close()

    def _check_every_charge(self) -> None:
        for key, charges in self.world.charges.items():
            if charges > self.world.charges_before[key]:
                status = self.world.history[key][-1].status
                assert status.terminal or key in self.reported_in_doubt, (key, status)
        assert self.problems == []


TestJobs = pytest.mark.slow(Jobs.TestCase)
TestJobs.settings = settings(
    max_examples=600,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
