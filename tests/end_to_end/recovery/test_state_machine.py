"""State machine test: in any order of events, at most one charge per job, one end, nothing lost, nothing left running.

Hypothesis chooses sequences of up to 25 events for a client on a virtual clock and the model of `fake_world`:

    submit               a job, perhaps with the key of an earlier one, with a fault, or with an early callback
    wait                 time passes: polls happen, deadlines expire
    finish               the provider completes a task and sends no, one or two callbacks, immediately or later
    cancel, resume       an awaiter is cancelled; a job is resumed by its token
    die_soon             the process will die at one of its next requests or store calls
    crash_and_restart    the process dies here; a new client recovers from the same store
    close_and_restart    the client is closed properly; a new one recovers

A crash is simulated in one process: the dead process's transport and store raise `ProcessDied`, and all its tasks are
cancelled. After each event hold

    nothing_is_paid_twice              no link has more than one charge
    a_job_goes_forward_and_ends_once   the statuses in the store never go back, and there is one terminal status
    nothing_paid_is_forgotten          each charged job has a record

and after the last one, with all tasks completed and 1000 seconds passed: each charged job has ended, or was reported
in doubt; no task, slot or unhandled exception is left. A failing sequence is reduced by Hypothesis to a shortest one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import aiowatermark as aw
from tests.support.virtual_clock import VirtualLoop

from . import fake_world

FAULTS = ["none", "none", "answer lost", "request lost", "500 after work", "not sent", "refused"]
RANK = {status: rank for rank, status in enumerate(["uploading", "in_doubt", "queued", "running", "succeeded"])}
RANK["failed"] = RANK["succeeded"]


class Jobs(RuleBasedStateMachine):
    """A user with a client and a store, a provider that loses answers, and processes that die."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self._on_loop_error(context))
        self.world = fake_world.World()
        self.awaiters: list[asyncio.Task[Any]] = []
        self.tokens: dict[str, str] = {}
        self.reported_in_doubt: set[str] = set()

    def _on_loop_error(self, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), fake_world.ProcessDied):
            self.problems.append(context)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def start(self) -> None:
        """A process starts and recovers what its store holds."""
        self.run(self._start())

    async def _start(self) -> None:
        self.receiver = aw.CallbackReceiver("https://hooks.example/wm")
        self.process = fake_world.Process(self.world, self.receiver)
        provider = aw.PicWish("canary-1", requests_per_second=None)
        self.client = aw.Client(
            provider, transport=self.process, store=self.process, callbacks=self.receiver, deadline=500, drain=1.0
        )
        await self.client.__aenter__()
        recovery = await self.client.recover()
        self.reported_in_doubt |= {record.key for record in recovery.in_doubt}
        assert recovery.unsent == []
        self.awaiters += [asyncio.ensure_future(self._await(handle.key, handle)) for handle in recovery.resumed]

    async def _await(self, key: str, handle: aw.JobHandle) -> None:
        try:
            await handle
        except aw.SubmissionInDoubt:
            self.reported_in_doubt.add(key)
        except aw.WatermarkError:
            pass

    async def _remove(self, number: int, deadline: float) -> None:
        key = f"k{number}"
        try:
            handle = await self.client.submit(f"https://images.example/{number}", key=key, deadline=deadline)
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
        number=st.integers(0, 3),
        fault=st.sampled_from(FAULTS),
        early=st.booleans(),
        deadline=st.sampled_from([1.0, 40.0, 400.0]),
        wait=st.sampled_from([0.0, 0.005, 0.015, 0.5]),
    )
    def submit(self, number: int, fault: str, early: bool, deadline: float, wait: float) -> None:
        """Submit a job, perhaps one of an earlier key, perhaps with a lost answer or an early callback."""
        self.process.fault, self.process.early = fault, early
        self.awaiters.append(self.loop.create_task(self._remove(number, deadline)))
        self.run(asyncio.sleep(wait))

    @rule(seconds=st.sampled_from([0.01, 1.0, 35.0, 700.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: polls happen, deadlines expire."""
        self.run(asyncio.sleep(seconds))

    @precondition(lambda self: self.world.tasks)
    @rule(data=st.data(), failed=st.booleans(), calls=st.integers(0, 2), late=st.booleans())
    def finish(self, data: st.DataObject, failed: bool, calls: int, late: bool) -> None:
        """The provider completes a task and calls back never, once or twice, immediately or later."""
        task = self.world.tasks[data.draw(st.sampled_from(sorted(self.world.tasks)))]
        task.state = task.state or (-1 if failed else 1)
        self.run(self._call_back(task, calls, 60.0 if late else 0.0))

    async def _call_back(self, task: fake_world.FakeTask, calls: int, delay: float) -> None:
        await asyncio.sleep(delay)
        if task.callback_key is None:
            return
        for _ in range(calls):
            assert await self.receiver.receive(task.callback_key, self.world.delivery(task)) in {200, 404}

    @precondition(lambda self: self.awaiters)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """An awaiter is cancelled."""
        data.draw(st.sampled_from(self.awaiters)).cancel()
        self.run(asyncio.sleep(0))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """A job is resumed by its token."""
        key = data.draw(st.sampled_from(sorted(self.tokens)))
        self.awaiters.append(self.loop.create_task(self._resume(key)))
        self.run(asyncio.sleep(0))

    async def _resume(self, key: str) -> None:
        await self._await(key, self.client.resume(self.tokens[key], deadline=30))

    @rule(steps=st.integers(0, 8))
    def die_soon(self, steps: int) -> None:
        """The process will die at one of its next steps."""
        self.process.crash_at = steps

    @rule()
    def crash_and_restart(self) -> None:
        """The process dies here; another one starts on the same store."""
        self.run(self._crash())
        self.run(self._start())

    async def _crash(self) -> None:
        self.process.dead = True
        remaining = asyncio.all_tasks() - {asyncio.current_task()}
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
        self.awaiters.clear()

    @rule()
    def close_and_restart(self) -> None:
        """The client is closed properly; another one starts."""
        self.run(self._close())
        self.run(self._start())

    async def _close(self) -> None:
        # a process that is about to die would die while closing
        if self.process.dead or self.process.crash_at is not None:
            return await self._crash()
        engine = self.client._engine
        await self.client.__aexit__()
        await asyncio.gather(*self.awaiters, return_exceptions=True)
        self.awaiters.clear()
        assert engine is not None
        assert engine.jobs == {}
        assert engine.admission.free_slots == self.client.limits.in_flight
        assert engine.submitter.slots.local._value == self.client.limits.submissions
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return None

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        assert max(self.world.charges.values(), default=0) <= 1

    @invariant()
    def a_job_goes_forward_and_ends_once(self) -> None:
        for statuses in self.world.history.values():
            ranks = [RANK[status] for status in statuses]
            assert ranks == sorted(ranks)
            assert len({status for status in statuses if status.terminal}) <= 1

    @invariant()
    def nothing_paid_is_forgotten(self) -> None:
        known = {key for key, statuses in self.world.history.items() if statuses}
        assert {f"k{fake_world.number_in(link)}" for link in self.world.charges} <= known

    def teardown(self) -> None:
        """Restart, complete all tasks, wait and close; then every charged job has ended or was reported in doubt."""
        try:
            self.run(self._close())
            self.run(self._start())
            for task in self.world.tasks.values():
                task.state = task.state or 1
            self.run(asyncio.sleep(1000))
            self.run(self._close())
            self._check_every_charge()
        finally:
            self.loop.close()

    def _check_every_charge(self) -> None:
        for link in self.world.charges:
            key = f"k{fake_world.number_in(link)}"
            status = self.world.history[key][-1]
            assert status.terminal or key in self.reported_in_doubt, (key, status)
        assert self.problems == []


TestJobs = pytest.mark.slow(Jobs.TestCase)
TestJobs.settings = settings(
    max_examples=400,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
