"""The summary of a store: the jobs by provider and state, how old they are, and what they cost."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.stores.memory import MemoryStore
from aiowatermark.stores.summary import ANSWER_PENDING, JobGroup, SummaryBuilder, summarize
from tests.support.redis_server import RedisServer
from tests.support.stores import MakeStore

IN_DOUBT = Snapshot(None, Status.IN_DOUBT, reason="no answer")


def record(key: str, snapshot: Snapshot, created_at: float, provider: str = "kaze") -> Record:
    return Record(key, provider, snapshot, account="account-1", owner="owner", created_at=created_at, epoch=1)


async def fill(store: aw.JobStore) -> None:
    for number in range(3):
        await store.open(record(f"running-{number}", Snapshot(f"t-{number}", Status.RUNNING), 100.0 + number))
    await store.open(record("doubt", IN_DOUBT, 50.0))
    await store.open(record("pending", Snapshot(None, Status.IN_DOUBT), 60.0, provider="picwish"))
    for number, charged in enumerate((aw.Charge(1.5, "answer"), aw.Charge(2.0, "answer"), None)):
        opened = record(f"done-{number}", Snapshot(f"d-{number}", Status.RUNNING), 10.0)
        await store.open(opened)
        done = opened.advance(Snapshot(f"d-{number}", Status.SUCCEEDED))
        await store.put(evolve(done, charged=charged))


EXPECTED = (
    JobGroup("kaze", "in_doubt", 1, 50.0, 50.0, 0.0, 0),
    JobGroup("kaze", "running", 3, 100.0, 102.0, 0.0, 0),
    JobGroup("kaze", "succeeded", 3, 10.0, 10.0, 3.5, 2),
    JobGroup("picwish", ANSWER_PENDING, 1, 60.0, 60.0, 0.0, 0),
)


async def test_a_summary_counts_jobs_by_provider_and_state_with_ages_and_charges(store: aw.JobStore) -> None:
    await fill(store)
    summary = await summarize(store)
    assert summary.groups == EXPECTED
    assert summary.complete is not isinstance(store, MemoryStore)


async def test_jobs_whose_results_were_taken_are_counted_by_stores_that_count_themselves(store: aw.JobStore) -> None:
    await fill(store)
    records = [record async for record in store.unacknowledged()]
    await store.acknowledge(records)
    (*_, succeeded) = [group for group in (await summarize(store)).groups if group.provider == "kaze"]
    assert (succeeded.state == "succeeded") is not isinstance(store, MemoryStore)


async def test_an_empty_store_has_no_groups(store: aw.JobStore) -> None:
    assert (await summarize(store)).groups == ()


async def test_damaged_rows_are_left_out(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await fill(store)
        with sqlite3.connect(path) as other:
            other.execute("UPDATE records SET data = '{nonsense' WHERE key = 'doubt'")
        other.close()
        assert (await summarize(store)).groups == EXPECTED[1:]


@pytest.mark.parametrize("data", [None, [], "text", {}, {"snapshot": 3}, {"snapshot": None}])
def test_json_that_is_no_record_is_left_out(data: object) -> None:
    builder = SummaryBuilder()
    builder.add_json(data)
    assert builder.build(complete=True).groups == ()


async def test_only_the_keys_of_this_prefix_are_counted(redis_server: RedisServer) -> None:
    for prefix in ("a[b]*", "a[b]*x", "ab"):
        redis_server.skip_quiet_time(prefix)
    async with (
        aw.RedisStore(redis_server.url, prefix="a[b]*") as store,
        aw.RedisStore(redis_server.url, prefix="a[b]*x") as longer,
        aw.RedisStore(redis_server.url, prefix="ab") as other,
    ):
        await store.open(record("mine", IN_DOUBT, 1.0))
        await longer.open(record("theirs", IN_DOUBT, 1.0))
        await other.open(record("others", IN_DOUBT, 1.0))
        assert [group.count for group in (await summarize(store)).groups] == [1]


async def test_a_summary_of_many_jobs_reads_each_once(make_store: MakeStore) -> None:
    async with make_store() as store:
        records = [record(f"job-{number}", Snapshot(f"t-{number}", Status.RUNNING), 100.0) for number in range(3000)]
        await asyncio.gather(*map(store.open, records))
        assert [group.count for group in (await summarize(store)).groups] == [3000]
        await asyncio.gather(*map(store.forget, records))
