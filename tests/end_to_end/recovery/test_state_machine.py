"""Whatever happens in whatever order: at most one charge a job, one end, nothing lost, nothing left over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import aiowatermark as aw
from tests.support.virtual_clock import VirtualLoop

from . import fake_world

FAULTS = ["none", "none", "lost after", "lost before", "broken after", "never left", "refused"]
RANK = {status: rank for rank, status in enumerate(["uploading", "in_doubt", "queued", "running", "succeeded"])}
RANK["failed"] = RANK["succeeded"]


class Jobs(RuleBasedStateMachine):
    """A user with a client and a store, a provider that loses answers, and processes that die."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self._problem(context))
        self.world = fake_world.World()
        self.waiting: list[asyncio.Task[Any]] = []
        self.tokens: dict[str, str] = {}
        self.reported: set[str] = set()

    def _problem(self, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), fake_world.Died):
            self.problems.append(context)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        """A process begins and looks what there is."""
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
        self.reported |= {record.key for record in recovery.in_doubt}
        assert recovery.unsent == []
        self.waiting += [asyncio.ensure_future(self._outcome(handle.key, handle)) for handle in recovery.resumed]

    async def _outcome(self, key: str, handle: aw.JobHandle) -> None:
        try:
            await handle
        except aw.SubmissionInDoubt:
            self.reported.add(key)
        except aw.WatermarkError:
            pass

    async def _remove(self, number: int, deadline: float) -> None:
        key = f"k{number}"
        try:
            handle = await self.client.submit(f"https://pictures.example/{number}", key=key, deadline=deadline)
            self.tokens[key] = handle.token
            await handle
        except aw.SubmissionInDoubt as error:
            assert error.token is not None
            self.tokens[key] = error.token
            self.reported.add(key)
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
        """Ask for a job, perhaps again, perhaps with an answer that is lost or a callback that overtakes it."""
        self.process.fault, self.process.early = fault, early
        self.waiting.append(self.loop.create_task(self._remove(number, deadline)))
        self.run(asyncio.sleep(wait))

    @rule(seconds=st.sampled_from([0.01, 1.0, 35.0, 700.0]))
    def wait(self, seconds: float) -> None:
        """Time passes, polls happen, deadlines come."""
        self.run(asyncio.sleep(seconds))

    @precondition(lambda self: self.world.tasks)
    @rule(data=st.data(), failed=st.booleans(), calls=st.integers(0, 2), late=st.booleans())
    def finish(self, data: st.DataObject, failed: bool, calls: int, late: bool) -> None:
        """The provider ends a job and calls back never, once or twice, at once or later."""
        task = self.world.tasks[data.draw(st.sampled_from(sorted(self.world.tasks)))]
        task.state = task.state or (-1 if failed else 1)
        self.run(self._call(task, calls, 60.0 if late else 0.0))

    async def _call(self, task: Any, calls: int, after: float) -> None:
        await asyncio.sleep(after)
        for _ in range(calls if task.callback_key else 0):
            assert await self.receiver.receive(task.callback_key, self.world.delivery(task)) in {200, 404}

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """An awaiter goes away."""
        data.draw(st.sampled_from(self.waiting)).cancel()
        self.run(asyncio.sleep(0))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """Somebody comes back with a token."""
        key = data.draw(st.sampled_from(sorted(self.tokens)))
        self.waiting.append(self.loop.create_task(self._resume(key)))
        self.run(asyncio.sleep(0))

    async def _resume(self, key: str) -> None:
        await self._outcome(key, self.client.resume(self.tokens[key], deadline=30))

    @rule(steps=st.integers(0, 8))
    def die_soon(self, steps: int) -> None:
        """The process will die at one of its next steps."""
        self.process.crash_at = steps

    @rule()
    def crash_and_restart(self) -> None:
        """The process dies where it stands; another begins on the same store."""
        self.run(self._crash())
        self.run(self._start())

    async def _crash(self) -> None:
        self.process.dead = True
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self.waiting.clear()

    @rule()
    def close_and_restart(self) -> None:
        """The process ends in good order; another begins."""
        self.run(self._close())
        self.run(self._start())

    async def _close(self) -> None:
        if self.process.dead or self.process.crash_at is not None:
            return await self._crash()
        conductor = self.client._engine
        await self.client.__aexit__()
        await asyncio.gather(*self.waiting, return_exceptions=True)
        self.waiting.clear()
        assert conductor is not None
        assert conductor.jobs == {}
        assert conductor.admission.free_slots == self.client.limits.in_flight
        assert conductor.slots.local._value == self.client.limits.submissions
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
        assert {f"k{fake_world.number(link)}" for link in self.world.charges} <= known

    def teardown(self) -> None:
        """In the end every paid job is finished, watched again, or reported in doubt."""
        try:
            self.run(self._close())
            self.run(self._start())
            for task in self.world.tasks.values():
                task.state = task.state or 1
            self.run(asyncio.sleep(1000))
            self.run(self._close())
            self._judge()
        finally:
            self.loop.close()

    def _judge(self) -> None:
        for link in self.world.charges:
            key = f"k{fake_world.number(link)}"
            status = self.world.history[key][-1]
            assert status.terminal or key in self.reported, (key, status)
        assert self.problems == []


TestJobs = Jobs.TestCase
TestJobs.settings = settings(
    max_examples=400,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
