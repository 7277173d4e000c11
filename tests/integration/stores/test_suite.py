"""The tests that every store passes: what JobStore promises."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.client.engine.settle import write_settlement
from aiowatermark.jobs import Output, Record, Session, Snapshot, Status
from aiowatermark.media.memory import Base64Text, Bytes
from aiowatermark.testing import ScriptedTransport
from tests.support.media_sources import read_media
from tests.support.picwish import ACCEPTED, FINISHED, scripted_client
from tests.support.records import accept, finish, make_record
from tests.support.stores import MakeStore, get_record, list_keys

CONTENT = os.urandom(300_001)


@pytest.mark.parametrize("account", ["a1", ""])
async def test_a_record_with_a_new_key_is_inserted_and_stored(store: aw.JobStore, account: str) -> None:
    record = make_record(callback="c" * 64, account=account, owner="o1", video=True)
    assert await store.open(record) is None
    assert await store.get("job-1") == record


async def test_opening_a_known_key_returns_the_first_record(store: aw.JobStore) -> None:
    first = make_record(owner="first")
    await store.open(first)
    assert await store.open(make_record(owner="second")) == first
    assert await store.get("job-1") == first


async def test_an_unknown_key_has_no_record(store: aw.JobStore) -> None:
    assert await store.get("unknown") is None
    assert await store.by_callback("unknown") is None


async def test_a_newer_version_is_stored_and_the_same_object_is_returned(store: aw.JobStore) -> None:
    await store.open(record := make_record())
    newer = accept(record)
    assert await store.put(newer) is newer
    assert await store.get("job-1") == newer


async def test_putting_an_older_version_returns_the_stored_record(store: aw.JobStore) -> None:
    await store.open(record := make_record())
    newer = evolve(accept(record), version=5)
    await store.put(newer)
    older = evolve(accept(record, "task-2"), version=4)
    assert await store.put(older) == newer
    assert await store.get("job-1") == newer


async def test_of_two_equal_records_of_one_version_only_the_first_is_stored(store: aw.JobStore) -> None:
    await store.open(record := make_record())
    first, second = accept(record), accept(record)
    assert await store.put(first) is first
    stored = await store.put(second)
    assert stored == first
    assert stored is not second


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
async def test_a_terminal_record_never_changes(store: aw.JobStore, status: Status) -> None:
    await store.open(record := make_record())
    ended = record.advance(Snapshot("task-1", status, reason="as it is"))
    await store.put(ended)
    later = evolve(accept(record), version=99)
    assert await store.put(later) == ended
    assert await store.open(make_record()) == ended
    assert await store.get("job-1") == ended


async def test_putting_an_unknown_key_inserts_the_record(store: aw.JobStore) -> None:
    newer = accept(make_record())
    assert await store.put(newer) is newer
    assert await store.get("job-1") == newer


async def test_a_record_is_found_by_its_callback(store: aw.JobStore) -> None:
    await store.open(record := make_record(callback="c" * 64))
    await store.open(make_record("job-2", callback="d" * 64))
    assert await store.by_callback("c" * 64) == record
    newer = accept(record)
    await store.put(newer)
    assert await store.by_callback("c" * 64) == newer


async def test_unfinished_lists_the_records_that_are_not_terminal_oldest_first(store: aw.JobStore) -> None:
    records = [make_record(f"job-{number}", created_at=float(number)) for number in range(1200)]
    for each in records:
        await store.open(each)
    for each in records[::3]:
        await store.put(finish(each))
    unfinished = [each.key for number, each in enumerate(records) if number % 3]
    assert await list_keys(store.unfinished()) == unfinished


async def test_listing_unfinished_records_ends_although_records_are_added_meanwhile(store: aw.JobStore) -> None:
    await store.open(make_record("job-0"))
    seen = 0
    async for _ in store.unfinished():
        seen += 1
        await store.open(make_record(f"job-{seen}"))
        assert seen < 5


async def test_listing_unfinished_records_may_stop_in_the_middle(store: aw.JobStore) -> None:
    for number in range(3):
        await store.open(make_record(f"job-{number}", created_at=float(number)))
    async for each in store.unfinished():
        assert each.key == "job-0"
        break
    assert len(await list_keys(store.unfinished())) == 3


async def test_a_forgotten_record_is_deleted_and_its_key_can_be_used_again(store: aw.JobStore) -> None:
    await store.open(record := make_record(callback="c" * 64))
    assert await store.forget(record) is True
    assert await store.get("job-1") is None
    assert await store.by_callback("c" * 64) is None
    assert await list_keys(store.unfinished()) == []
    assert await store.open(make_record(owner="second")) is None


async def test_forgetting_an_unknown_key_finds_it_free(store: aw.JobStore) -> None:
    assert await store.forget(make_record("unknown")) is True


@pytest.mark.parametrize("changes", [{"version": 1}, {"epoch": 1}, {"epoch": 1, "version": 1}])
async def test_a_record_that_was_changed_meanwhile_is_not_forgotten(
    store: aw.JobStore, changes: dict[str, Any]
) -> None:
    await store.open(record := evolve(make_record(callback="c" * 64), **changes))
    assert await store.forget(make_record(callback="c" * 64)) is False
    assert await store.get("job-1") == record
    assert await store.by_callback("c" * 64) == record
    assert await list_keys(store.unfinished()) == ["job-1"]


@pytest.mark.parametrize("snapshot", [Snapshot(None, Status.UPLOADING), Snapshot("t-1", Status.IN_DOUBT)])
async def test_putting_a_record_that_was_deleted_before_its_payment_inserts_nothing(
    store: aw.JobStore, snapshot: Snapshot
) -> None:
    await store.open(record := make_record(snapshot=Snapshot(None, Status.UPLOADING)))
    await store.forget(record)
    assert await store.put(evolve(record, snapshot=snapshot, version=1)) is None
    assert await store.get("job-1") is None
    assert await list_keys(store.unfinished()) == []


async def test_a_takeover_replaces_only_the_very_version_that_was_read(store: aw.JobStore) -> None:
    await store.open(record := make_record(snapshot=Snapshot(None, Status.UPLOADING), owner="first", epoch=5))
    newer = record.advance(Snapshot("task-1", Status.UPLOADING))
    stale = record.take_over("second", 6, 2.0, "d" * 64, "")
    assert await store.put(newer) is newer
    assert await store.put(stale) == newer
    taken_over = newer.take_over("second", 6, 2.0, "d" * 64, "")
    assert await store.put(taken_over) is taken_over
    assert await store.by_callback("d" * 64) == taken_over
    assert await list_keys(store.unfinished()) == ["job-1"]


async def test_the_owner_before_a_takeover_can_write_nothing_more(store: aw.JobStore) -> None:
    await store.open(record := make_record(snapshot=Snapshot(None, Status.UPLOADING), owner="first", epoch=5))
    taken_over = record.take_over("second", 6, 2.0, None, "")
    await store.put(taken_over)
    for late in (record.commit(3.0), evolve(accept(record), version=99)):
        assert await store.put(late) == taken_over
    assert await store.forget(record) is False
    # evidence counts all the same, for whoever owns the record now
    proven = taken_over.advance(Snapshot("task-1", Status.RUNNING))
    assert await store.put(proven) is proven


async def test_a_failed_job_is_replaced_by_a_later_epoch_and_is_unfinished_again(store: aw.JobStore) -> None:
    await store.open(record := make_record(epoch=5))
    failed = record.advance(Snapshot("task-1", Status.FAILED, reason="too dark"))
    await store.put(failed)
    again = failed.take_over("second", 6, 2.0, "d" * 64, "charged again")
    assert await store.put(again) is again
    assert await store.get("job-1") == again
    assert await list_keys(store.unfinished()) == ["job-1"]
    assert await store.put(ended := finish(again)) is ended
    assert await list_keys(store.unfinished()) == []


async def test_a_job_that_is_settled_as_unpaid_is_listed_as_old_as_it_is_until_it_was_done_after_all(
    store: aw.JobStore,
) -> None:
    snapshot = Snapshot(None, Status.IN_DOUBT, reason="no answer")
    await store.open(record := make_record(snapshot=snapshot, owner="gone", epoch=5))
    settled = await write_settlement(store, record, paid=False)
    (listed,) = [each async for each in store.unfinished()]
    assert (listed.settled_unpaid, listed.created_at, listed.history) == (True, 1.5, settled.history)
    assert await store.put(evolve(accept(record), version=99)) == settled
    submitted = settled.take_over("second", settled.epoch + 1, 2.0, None, "submitted again")
    assert await store.put(submitted) is submitted
    assert [each.created_at async for each in store.unfinished()] == [2.0]
    await store.put(finish(submitted))
    assert await list_keys(store.unfinished()) == []


async def test_results_that_nobody_took_are_listed_until_they_are_acknowledged(store: aw.JobStore) -> None:
    records = [make_record(f"job-{number}", created_at=float(number)) for number in range(5)]
    for record in records:
        await store.open(record)
    ended = [finish(accept(record, f"task-{record.key}"), Bytes(CONTENT[:9])) for record in records[:4]]
    for record in ended:
        await store.put(record)
    assert await list_keys(store.unacknowledged()) == ["job-0", "job-1", "job-2", "job-3"]
    await store.acknowledge(ended[1:3])
    assert await list_keys(store.unacknowledged()) == ["job-0", "job-3"]
    assert await list_keys(store.unfinished()) == ["job-4"]
    taken, waiting = await get_record(store, "job-1"), await get_record(store, "job-3")
    assert (taken.acknowledged, waiting.acknowledged) == (True, False)
    assert taken.snapshot.outputs[0].media is not None
    assert await store.open(make_record("job-1")) is not None


async def test_an_acknowledgement_of_another_epoch_or_of_an_unfinished_job_is_ignored(store: aw.JobStore) -> None:
    await store.open(record := make_record(epoch=5))
    await store.acknowledge([record, make_record("unknown")])
    failed = record.advance(Snapshot("task-1", Status.FAILED))
    await store.put(failed)
    await store.put(again := failed.take_over("second", 6, 2.0, None, ""))
    await store.put(done := finish(again))
    await store.acknowledge([failed])
    assert await list_keys(store.unacknowledged()) == ["job-1"]
    await store.acknowledge([done])
    assert await list_keys(store.unacknowledged()) == []


async def test_of_50_concurrent_takeovers_exactly_one_is_stored(store: aw.JobStore) -> None:
    await store.open(record := make_record(snapshot=Snapshot(None, Status.UPLOADING)))
    takeovers = [record.take_over(f"owner-{number}", number + 1, 2.0, None, "") for number in range(50)]
    stored = await asyncio.gather(*map(store.put, takeovers))
    assert sum(result is mine for result, mine in zip(stored, takeovers, strict=True)) == 1


async def test_a_record_is_found_by_its_task(store: aw.JobStore) -> None:
    await store.open(record := make_record())
    assert await store.by_task(record.account, "task-1") is None
    await store.put(newer := accept(record))
    assert await store.by_task(record.account, "task-1") == newer
    assert await store.by_task("another account", "task-1") is None
    await store.open(second := make_record("job-2"))
    await store.put(accept(second))
    assert await store.by_task(record.account, "task-1") == newer
    await store.forget(newer)
    assert await store.get("job-1") is None


async def test_a_job_that_is_given_the_task_of_another_job_has_a_note_and_keeps_its_task(
    store: aw.JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.open(one := make_record(fingerprint="1" * 32))
    await store.open(other := make_record("job-2", fingerprint="2" * 32))
    await store.put(accepted := accept(one))
    stored = await store.put(accept(other))
    assert stored is not None
    assert "was given the task task-1 of the job job-1" in stored.history[-1]
    assert stored == await store.get("job-2")
    assert stored.snapshot.task_id == "task-1"
    assert stored.history[-1] in caplog.text
    assert await store.by_task(one.account, "task-1") == accepted


@pytest.mark.parametrize("write", [accept, finish])
async def test_a_note_about_a_shared_task_is_stored_with_the_very_version_that_was_written(
    store: aw.JobStore, write: Callable[[Record], Record]
) -> None:
    await store.open(one := make_record(fingerprint="1" * 32))
    await store.open(other := make_record("job-2", fingerprint="2" * 32))
    await store.put(write(one))
    stored = await store.put(written := write(other))
    assert written.is_written(stored)
    kept = await get_record(store, "job-2")
    assert kept.history[0].startswith("was given the task task-1")
    assert kept.snapshot.status is written.snapshot.status


async def test_the_first_job_of_a_shared_task_has_no_note(store: aw.JobStore) -> None:
    await store.open(one := make_record(fingerprint="1" * 32))
    await store.open(other := make_record("job-2", fingerprint="2" * 32))
    await store.put(first := accept(one))
    await store.put(accept(other))
    assert await store.put(ended := finish(first)) is ended
    assert (await get_record(store, "job-1")).history == ()


async def test_jobs_with_one_task_are_all_recovered(make_store: MakeStore) -> None:
    provider = aw.PicWish("canary-1", requests_per_second=None)
    async with make_store() as store:
        for key, content in {"one": "1", "other": "2"}.items():
            record = make_record(key, fingerprint=content * 32, account=provider.account, owner="gone")
            await store.open(record := evolve(record, provider="picwish"))
            await store.put(accept(record))
        transport = ScriptedTransport(queries=[FINISHED, FINISHED])
        async with scripted_client(transport, provider=provider, store=store) as client:
            recovered = await client.recover()
            assert sorted(handle.key for handle in recovered.resumed) == ["one", "other"]


async def test_a_task_is_noted_once_however_often_the_record_is_written(store: aw.JobStore) -> None:
    await store.open(one := make_record(fingerprint="1" * 32))
    await store.open(other := make_record("job-2", fingerprint="2" * 32))
    await store.put(accept(one))
    stored = await store.put(accept(other))
    assert stored is not None
    again = await store.put(finish(stored))
    assert again is not None
    assert again.history == stored.history


async def test_a_client_notices_that_its_job_was_given_the_task_of_another_clients_job(
    make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    for key in ("one", "other"):
        async with scripted_client(ScriptedTransport(submissions=[ACCEPTED]), store=make_store()) as client:
            await client.submit(f"https://example.com/{key}.jpg", key=key)
    async with make_store() as store:
        record = await get_record(store, "other")
    assert "was given the task task-1 of the job one" in record.history[-1]
    assert record.history[-1] in caplog.text


async def test_jobs_of_the_same_work_and_jobs_of_several_accounts_share_a_task_without_a_note(
    store: aw.JobStore,
) -> None:
    for key, changes in {"job-1": {}, "job-2": {}, "job-3": {"account": "another account"}}.items():
        await store.open(record := make_record(key, fingerprint="1" * 32, **changes))
        stored = await store.put(accept(record))
        assert stored is not None
        assert stored.history == ()


async def test_of_200_concurrent_opens_of_one_key_exactly_one_inserts(store: aw.JobStore) -> None:
    results = await asyncio.gather(*(store.open(make_record(owner=f"owner-{number}")) for number in range(200)))
    assert results.count(None) == 1
    winner = f"owner-{results.index(None)}"
    assert {known.owner for known in results if known is not None} == {winner}
    assert (stored := await store.get("job-1")) is not None
    assert stored.owner == winner


async def test_of_200_concurrent_puts_of_one_version_exactly_one_is_stored(store: aw.JobStore) -> None:
    await store.open(record := make_record())
    updates = [accept(record) for _ in range(200)]
    stored = await asyncio.gather(*map(store.put, updates))
    assert sum(result is update for result, update in zip(stored, updates, strict=True)) == 1


async def test_concurrent_jobs_do_not_affect_each_other(store: aw.JobStore) -> None:
    async def run_job(number: int) -> None:
        record = make_record(f"job-{number}", callback=f"{number:064}")
        assert await store.open(record) is None
        record = accept(record, f"task-{number}")
        assert await store.put(record) is record
        assert await store.get(record.key) == record
        if number % 2:
            assert await store.put(done := finish(record)) is done
        elif number % 5 == 0:
            assert await store.forget(record)

    await asyncio.gather(*map(run_job, range(300)))
    unfinished = set(await list_keys(store.unfinished()))
    assert unfinished == {f"job-{number}" for number in range(0, 300, 2) if number % 5}


async def test_two_stores_on_the_same_records_see_each_others_writes(make_store: MakeStore) -> None:
    async with make_store() as first, make_store() as second:
        record = make_record()
        assert await first.open(record) is None
        assert await second.open(make_record(owner="another")) == record
        newer = accept(record)
        assert await second.put(newer) is newer
        assert await first.put(accept(record, "task-2")) == newer


async def test_a_store_that_was_opened_twice_stays_open_until_it_is_closed_twice(make_store: MakeStore) -> None:
    async with (store := make_store()):
        async with store:
            await store.open(make_record())
        assert await store.get("job-1") == make_record()


async def test_a_store_that_was_closed_opens_again_with_its_records(make_store: MakeStore) -> None:
    store = make_store()
    async with store:
        await store.open(make_record())
    async with store:
        assert await store.get("job-1") == make_record()


async def test_results_in_memory_are_restored_byte_for_byte(make_store: MakeStore) -> None:
    mask = base64.b64encode(CONTENT[:999]).decode()
    async with make_store() as store:
        await store.open(record := make_record())
        session = Session("session-1", Base64Text(mask, name="mask.png"), 2)
        image = Base64Text(base64.b64encode(CONTENT).decode())
        await store.put(finish(record, image, Bytes(CONTENT[:5], name="small.png"), session=session))
    async with make_store() as store:
        known = await get_record(store, "job-1")
        first, second = known.snapshot.outputs
        assert await read_media(first.media) == CONTENT
        assert await read_media(second.media) == CONTENT[:5]
        assert (restored := known.snapshot.session) is not None
        assert (restored.id, restored.refinements) == ("session-1", 2)
        assert await read_media(restored.mask) == CONTENT[:999]


async def test_links_keep_their_query_and_files_keep_their_path(store: aw.JobStore, tmp_path: Path) -> None:
    await store.open(record := make_record())
    await store.put(finish(record, aw.as_media("https://results.example/a.jpg?Signature=a%2Fb"), aw.as_media(tmp_path)))
    known = await get_record(store, "job-1")
    link, file = (output.media for output in known.snapshot.outputs)
    assert getattr(link, "url", None) == "https://results.example/a.jpg?Signature=a%2Fb"
    assert getattr(file, "path", None) == tmp_path


async def test_errors_of_outputs_keep_their_class_message_and_answer(store: aw.JobStore) -> None:
    await store.open(record := make_record())
    error = aw.ResultExpired("the link expired on Monday", answer="410 Gone")
    snapshot = Snapshot("task-1", Status.SUCCEEDED, outputs=(Output(error=error),))
    await store.put(record.advance(snapshot))
    known = await get_record(store, "job-1")
    restored = known.snapshot.outputs[0].error
    assert type(restored) is aw.ResultExpired
    assert (restored.message, restored.answer) == ("the link expired on Monday", "410 Gone")


async def test_cancelled_calls_leave_complete_records_and_a_working_store(store: aw.JobStore) -> None:
    tasks = [asyncio.create_task(store.open(make_record(f"job-{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(each is None or isinstance(each, asyncio.CancelledError) for each in results)
    for number in range(100):
        known = await store.get(f"job-{number}")
        assert known in {None, make_record(f"job-{number}")}
    assert await store.open(make_record("another")) is None


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a'; DROP TABLE records; --", "ключ 鍵 🗝", "x" * 200, "{key}*?[a]"]
)
async def test_a_key_with_special_characters_is_only_a_name(store: aw.JobStore, key: str) -> None:
    await store.open(record := make_record(key))
    await store.put(done := finish(record, Bytes(b"image")))
    known = await get_record(store, key)
    assert known.version == done.version
    assert await read_media(known.snapshot.outputs[0].media) == b"image"
    assert await store.forget(known)
    assert await store.get(key) is None


async def test_stores_on_the_same_records_sign_callback_keys_with_the_same_secret(make_store: MakeStore) -> None:
    async with (store := make_store()):
        secret: bytes = getattr(store, "callback_secret")  # noqa: B009 - optional in the protocol
    async with make_store() as first, make_store() as second:
        secrets = {getattr(each, "callback_secret") for each in (first, second)}  # noqa: B009
    assert len(secret) == 32
    assert secrets == {secret}
