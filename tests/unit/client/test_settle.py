"""A job in doubt can be settled by whoever knows what became of it; advice that may cost money is refused."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.client.engine.settle import settled_paid, write_settlement
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.stores.records.dump import dump
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, scripted_client
from tests.support.stores import get_record

VIRTUAL_CLOCK = True
ACCOUNT = aw.PicWish("canary-1").account
LOST = connection_lost(sent=True)


def record_in_doubt(key: str = "order-1", reason: str | None = "no answer", **fields: Any) -> Record:
    snapshot = Snapshot(None, Status.IN_DOUBT, reason=reason)
    return Record(key, "picwish", snapshot, account=ACCOUNT, owner="gone", epoch=1, **fields)


async def store_with(*records: Record) -> aw.MemoryStore:
    store = aw.MemoryStore()
    for record in records:
        await store.open(record)
    return store


async def test_a_doubt_is_settled_by_its_task_after_one_query_and_is_then_a_job_like_any_other(
    transport: ScriptedTransport,
) -> None:
    store = await store_with(record_in_doubt())
    transport.queries = [PENDING, FINISHED]
    async with scripted_client(transport, store=store) as client:
        handle = await client.settle("order-1", task_id="task-1")
        assert handle is not None
        assert len(transport.requests) == 1
        assert (await handle).url
    assert transport.submitted == 0


async def test_a_task_that_the_provider_does_not_know_settles_nothing(transport: ScriptedTransport) -> None:
    store = await store_with(record_in_doubt())
    transport.queries = [json_response(404, message="There is no such task.")]
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.WatermarkError):
            await client.settle("order-1", task_id="task-1")
    assert (await get_record(store, "order-1")).in_doubt


async def test_a_task_of_another_job_settles_nothing(transport: ScriptedTransport) -> None:
    other = Record("order-2", "picwish", Snapshot("task-1", Status.QUEUED), account=ACCOUNT)
    store = await store_with(record_in_doubt(), other)
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.InvalidInput, match="order-2"):
            await client.settle("order-1", task_id="task-1")
    assert transport.requests == []
    assert await store.get("order-2") == other


async def test_a_doubt_that_is_settled_as_paid_keeps_its_key_used(transport: ScriptedTransport) -> None:
    store = await store_with(record_in_doubt())
    async with scripted_client(transport, store=store) as client:
        assert await client.settle("order-1", paid=True) is None
        with pytest.raises(aw.JobFailed, match="settled as paid"):
            await client.remove(LINK, key="order-1")
        assert (await client.recover()).finished == []
    assert transport.submitted == 0


async def test_a_doubt_that_is_settled_as_unpaid_frees_its_key_and_keeps_what_happened(
    transport: ScriptedTransport,
) -> None:
    store = aw.MemoryStore()
    transport.submissions = [LOST]
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK, key="order-1")
        assert await client.settle("order-1", paid=False) is None
        settled = await get_record(store, "order-1")
        assert settled.history[-1].endswith(" operator: settled as unpaid")
        assert [record.key for record in (await client.recover()).unsent] == ["order-1"]
        transport.submissions = [ACCEPTED]
        assert (await client.remove(LINK, key="order-1")).url
    record = await get_record(store, "order-1")
    assert transport.submitted == 2
    assert len(record.attempts) == 2
    assert record.history[0] == settled.history[0]


async def test_a_proof_that_contradicts_a_settlement_is_an_error_in_the_log_and_counts(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    store = aw.MemoryStore()
    transport.hold = asyncio.Event()
    async with scripted_client(transport, store=store) as client:
        submitting = asyncio.create_task(client.submit(LINK, key="order-1"))
        await asyncio.sleep(1)
        # settled by force behind the back of the client that waits for the answer
        record = await get_record(store, "order-1")
        await store.put(record.take_over("", record.epoch + 1, 1.0, None, "settled as unpaid"))
        transport.hold.set()
        await submitting
    assert (await get_record(store, "order-1")).snapshot.task_id == "task-1"
    assert [entry.levelname for entry in caplog.records if "settled as unpaid, but" in entry.getMessage()] == ["ERROR"]


@pytest.mark.parametrize(
    ("how", "outcome"),
    [({"paid": True}, "paid"), ({"paid": False}, "unpaid"), ({"task_id": "task-1"}, "task task-1")],
)
async def test_a_settlement_is_kept_with_its_time_and_the_job_stays_as_old_as_it_is(
    transport: ScriptedTransport, how: dict[str, Any], outcome: str
) -> None:
    doubted = record_in_doubt(created_at=1.5, history=("before",))
    store = await store_with(doubted)
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as client:
        await client.settle("order-1", **how)
        settled = await get_record(store, "order-1")
    before, note = settled.history
    settled_at, who = note.split(" ", 1)
    assert (before, who) == ("before", f"operator: settled as {outcome}")
    assert abs(datetime.fromisoformat(settled_at).timestamp() - time.time()) < 600
    assert settled.created_at == 1.5
    assert settled.settled_unpaid == (outcome == "unpaid")
    assert dump(settled)[0]["v"] == dump(doubted)[0]["v"]


@pytest.mark.parametrize("how", [{"paid": True}, {"paid": False}, {"task_id": "task-1"}])
async def test_nothing_is_settled_while_the_answer_may_still_come(
    transport: ScriptedTransport, how: dict[str, Any]
) -> None:
    store = aw.MemoryStore()
    transport.hold = asyncio.Event()
    async with scripted_client(transport, store=store) as alive, scripted_client(transport, store=store) as other:
        submitting = asyncio.create_task(alive.submit(LINK, key="order-1"))
        await asyncio.sleep(1)
        with pytest.raises(aw.InvalidInput, match="running"):
            await alive.settle("order-1", **how)
        with pytest.raises(aw.InvalidInput, match="may still come"):
            await other.settle("order-1", **how)
        transport.hold.set()
        assert (await (await submitting)).url
    assert transport.submitted == 1


async def test_a_job_whose_owner_died_before_the_answer_can_be_settled(transport: ScriptedTransport) -> None:
    store = await store_with(record_in_doubt(reason=None))
    async with scripted_client(transport, store=store) as client:
        await client.settle("order-1", paid=False)
        assert (await client.remove(LINK, key="order-1")).url


@pytest.mark.parametrize("how", [{}, {"paid": True, "task_id": "task-1"}])
async def test_settle_needs_one_way_to_settle(transport: ScriptedTransport, how: dict[str, Any]) -> None:
    store = await store_with(record_in_doubt())
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.InvalidInput, match="either"):
            await client.settle("order-1", **how)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SUCCEEDED, Status.FAILED])
async def test_a_job_that_is_not_in_doubt_is_not_settled(transport: ScriptedTransport, status: Status) -> None:
    store = await store_with(evolve(record_in_doubt(), snapshot=Snapshot("task-1", status)))
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.InvalidInput, match="not in doubt"):
            await client.settle("order-1", paid=False)
        with pytest.raises(aw.InvalidInput, match="contains no job with the key"):
            await client.settle("order-2", paid=False)


@pytest.mark.parametrize("how", [{"paid": True}, {"task_id": "task-1"}])
async def test_a_doubt_that_was_settled_as_unpaid_by_mistake_is_settled_anew_and_nothing_is_sent(
    transport: ScriptedTransport, how: dict[str, Any]
) -> None:
    store = await store_with(record_in_doubt())
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as client:
        await client.settle("order-1", paid=False)
        await client.settle("order-1", **how)
        settled = await get_record(store, "order-1")
        outcomes = [note.partition(" operator: settled as ")[2] for note in settled.history]
        assert outcomes == ["unpaid", "paid" if "paid" in how else "task task-1"]
        assert settled.snapshot.status is (Status.FAILED if "paid" in how else Status.QUEUED)
    assert transport.submitted == 0


async def test_a_job_that_is_settled_as_unpaid_is_not_settled_as_that_again(transport: ScriptedTransport) -> None:
    store = await store_with(record_in_doubt())
    async with scripted_client(transport, store=store) as client:
        await client.settle("order-1", paid=False)
        settled = await get_record(store, "order-1")
        with pytest.raises(aw.InvalidInput, match="not in doubt: it was settled as unpaid"):
            await client.settle("order-1", paid=False)
        assert await get_record(store, "order-1") == settled


async def test_each_new_doubt_is_one_warning_with_its_key_its_token_and_the_commands(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    store = await store_with(record_in_doubt("left behind", reason=None))
    transport.submissions = [LOST]
    for _ in range(2):
        async with scripted_client(transport, store=store) as client:
            recovery = await client.recover()
            assert "left behind" in [record.key for record in recovery.in_doubt]
            with pytest.raises(aw.SubmissionInDoubt):
                await client.remove(LINK, key="order-1")
    warnings = [entry.getMessage() for entry in caplog.records if "is in doubt and may be paid" in entry.getMessage()]
    assert len(warnings) == 2
    for warning, key in zip(sorted(warnings), ("left behind", "order-1"), strict=True):
        assert "aw2." in warning
        # the command line cannot open a store in memory
        assert "aiowatermark jobs" not in warning
        for choice in ("task_id='ID'", "paid=True", "paid=False"):
            assert f"await client.settle({key!r}, {choice})" in warning


async def test_closing_waits_for_an_answer_that_is_the_paid_result(caplog: pytest.LogCaptureFixture) -> None:
    image = json_response(edited_image={"image": "aGVsbG8="}, event_id="e1", session_id="s1")
    transport = ScriptedTransport(submissions=[image])
    transport.hold = asyncio.Event()
    async with scripted_client(transport, provider=aw.Dewatermark("canary-1"), drain=1.0) as client:
        removing = asyncio.create_task(client.remove(b"\xff\xd8\xff\xe0" + bytes(64) + b"\xff\xd9"))
        while not transport.requests:  # noqa: ASYNC110 - the picture is read in a thread
            await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(100, transport.hold.set)
    assert (await removing).outputs


PAID = "settled as paid: its result is lost"


async def settled_record() -> Record:
    store = await store_with(record := record_in_doubt())
    return await write_settlement(store, record, paid=True)


async def test_what_was_settled_as_paid_is_told_by_the_history() -> None:
    record = await settled_record()
    assert settled_paid(record)
    assert settled_paid(evolve(record, snapshot=evolve(record.snapshot, reason="another text")))


async def test_a_text_of_the_provider_settles_nothing() -> None:
    accepted = record_in_doubt().advance(Snapshot("task-1", Status.QUEUED), 1.0)
    failed = accepted.advance(Snapshot("task-1", Status.FAILED, reason=PAID), 2.0)
    noted = accepted.note("the provider also reported the task 2026-11-28T09:00:00+00:00 operator: settled as paid")
    assert not settled_paid(failed)
    assert not settled_paid(noted.advance(Snapshot("task-1", Status.FAILED), 2.0))


@pytest.mark.parametrize("paid", [True, False])
async def test_a_job_that_was_submitted_again_after_its_settlement_is_not_settled_any_more(paid: bool) -> None:
    store = await store_with(record := record_in_doubt())
    settled = await write_settlement(store, record, paid=paid)
    again = settled.take_over("me", settled.epoch + 1, 1.0, None, "submitted again").commit(2.0)
    assert not settled_paid(again)
    assert not settled_paid(again.advance(Snapshot("task-2", Status.FAILED, reason="no mark"), 3.0))
