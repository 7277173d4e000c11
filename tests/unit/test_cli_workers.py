"""Workers of a batch: how an item is classified whose job was cut short, or refused after its upload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, field

from aiowatermark import (
    AuthenticationError,
    InsufficientCredits,
    JobFailed,
    JobHandle,
    MemoryStore,
    Rejected,
    Result,
    StoreError,
    WatermarkError,
)
from aiowatermark.cli.batch.account import AccountGate
from aiowatermark.cli.batch.items import BatchItem, ItemStatus
from aiowatermark.cli.batch.output_folder import OutputFolder
from aiowatermark.cli.batch.output_names import Target
from aiowatermark.cli.batch.workers import WorkerPool
from aiowatermark.cli.console.progress import ProgressDisplay, ProgressRow
from aiowatermark.client.engine.settle import write_settlement
from aiowatermark.jobs import Snapshot, Status
from tests.support.records import make_record
from tests.support.waiting import wait_until

VIRTUAL_CLOCK = True


@define(eq=False)
class Action:
    """Starts jobs that end as a test says; the key of an item is its source."""

    handles: dict[str, JobHandle] = field(factory=dict)
    unsent: dict[str, bool | Exception | None] = field(factory=dict)
    started: set[str] = field(factory=set)

    async def name(self, item: BatchItem) -> None:
        item.key = item.source

    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        self.started.add(item.key)
        if item.key not in self.handles:
            await asyncio.Event().wait()
        return self.handles[item.key]

    async def is_unsent(self, item: BatchItem) -> bool:
        answer = self.unsent[item.key]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return bool(answer)

    async def destinations(self, item: BatchItem) -> list[tuple[str, Target]]:
        return []


class FailedHandle:
    """The handle of a job that ends with an error."""

    key, token = "video", "aw2.token"
    snapshot = Snapshot("task-1", Status.QUEUED)

    def __init__(self, error: WatermarkError) -> None:
        self.error = error

    def done(self) -> bool:
        return True

    def __await__(self) -> Generator[Any, None, Result]:
        raise self.error
        yield


MakePool = Callable[[Action], WorkerPool]


@pytest.fixture
def make_pool(tmp_path: Path) -> MakePool:
    """Make a pool for an action."""

    def make(action: Action) -> WorkerPool:
        gate, display = AccountGate(MemoryStore()), ProgressDisplay(StringIO(), None)
        outputs = OutputFolder(tmp_path, uses_manifest=False)
        return WorkerPool(action, gate, "kaze", "Kaze", outputs, display, lambda _: "", asyncio.Event())

    return make


async def iterate(items: list[BatchItem]) -> AsyncIterator[BatchItem]:
    for item in items:
        yield item


async def test_what_the_store_knows_as_unsent_is_not_sent_when_a_run_is_aborted(make_pool: MakePool) -> None:
    action = Action(unsent={"unsent": True, "sent": False, "failing": StoreError("no answer"), "silent": None})
    pool, items = make_pool(action), [BatchItem(name) for name in action.unsent]
    run = asyncio.create_task(pool.run(iterate(items), len(items)))
    await wait_until(lambda: len(action.started) == len(items))
    pool.stop.set()
    await run
    await pool.abort()
    unsent, *others = [item.status for item in items]
    await pool.drain()
    assert unsent is ItemStatus.UNSENT
    assert set(others) == {ItemStatus.UNFINISHED}, "what is not known to be unsent may have been paid"
    assert pool.outcomes.counts.total() == len(items)


@pytest.mark.parametrize("kind", [InsufficientCredits, AuthenticationError, Rejected])
@pytest.mark.parametrize("accepted", [False, True])
async def test_a_refusal_in_the_wait_is_one_of_the_submission_unless_the_provider_has_the_job(
    make_pool: MakePool, kind: type[WatermarkError], accepted: bool
) -> None:
    error = kind("no", token="aw2.token" if accepted else None)
    pool = make_pool(Action({"video": cast("JobHandle", FailedHandle(error))}))
    item = BatchItem("video")
    await pool.run(iterate([item]), 1)
    assert item.status is (ItemStatus.FAILED if accepted else ItemStatus.REFUSED)
    assert (item.token is None) is not accepted
    assert (pool.gate.refusal is error) is (kind is InsufficientCredits and not accepted)


async def test_a_job_that_is_settled_as_paid_while_it_is_waited_for_is_lost(make_pool: MakePool) -> None:
    failure = JobFailed("the job failed: settled", key="video", snapshot=Snapshot(None, Status.FAILED))
    pool = make_pool(Action({"video": cast("JobHandle", FailedHandle(failure))}))
    await pool.gate.store.open(record := make_record("video"))
    await write_settlement(pool.gate.store, record, paid=True)
    item = BatchItem("video")
    await pool.run(iterate([item]), 1)
    assert item.status is ItemStatus.LOST
