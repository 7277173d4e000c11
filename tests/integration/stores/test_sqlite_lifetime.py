"""SQLiteStore over time: result files, expiry, opening and closing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Output, Snapshot, Status
from aiowatermark.media.memory import Base64Text, Bytes
from aiowatermark.stores.sqlite import worker
from tests.support.media_sources import read_media
from tests.support.records import accept, finish, make_record
from tests.support.stores import assert_open_fails, get_record, list_result_files

CANARY = b"canary-content"


# result files


async def test_the_database_contains_no_media_and_file_names_contain_no_key(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(record := make_record("canary-order"))
        await store.put(finish(record, Bytes(CANARY)))
        assert all(CANARY not in file.read_bytes() for file in path.parent.iterdir() if file.is_file())
    (file,) = list_result_files(path)
    assert file.read_bytes() == CANARY
    assert "canary" not in file.name
    assert not {stat.st_mode & 0o077 for stat in (path.stat(), file.parent.stat())} - {0}


async def test_result_files_are_removed_with_their_record(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        for key in ("job-1", "job-2"):
            await store.open(record := make_record(key))
            await store.put(finish(record, Bytes(CANARY), Bytes(b"more")))
        assert len(list_result_files(path)) == 4
        assert await store.forget(await get_record(store, "job-1"))
        assert len(list_result_files(path)) == 2
        known = await get_record(store, "job-2")
        assert await read_media(known.snapshot.outputs[0].media) == CANARY


async def test_a_result_whose_file_is_missing_has_expired_and_the_record_remains(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(record := make_record())
        await store.put(finish(record, Bytes(CANARY), aw.as_media("https://results.example/a.jpg")))
        list_result_files(path)[0].unlink()
        known = await get_record(store, "job-1")
        missing, linked = known.snapshot.outputs
        assert isinstance(missing.error, aw.ResultExpired)
        assert linked.media is not None


async def test_invalid_base64_loses_the_output_but_not_the_record(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(record := make_record())
        await store.put(finish(record, Base64Text("*not base64*")))
        known = await get_record(store, "job-1")
        assert isinstance(known.snapshot.outputs[0].error, aw.ResultExpired)
    assert list_result_files(path) == []


async def test_files_of_an_earlier_version_stay_until_the_record_is_deleted(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(record := make_record())
        early = record.advance(Snapshot("task-1", Status.RUNNING, outputs=(Output(Bytes(CANARY)),)))
        await store.put(early)
        known = await get_record(store, "job-1")
        await store.put(finish(known, *(output.media for output in known.snapshot.outputs if output.media)))
        known = await get_record(store, "job-1")
        assert await read_media(known.snapshot.outputs[0].media) == CANARY
        assert await store.forget(known)
    assert list_result_files(path) == []


async def test_files_without_a_record_are_removed_when_they_are_an_hour_old(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(record := make_record())
        await store.put(finish(record, Bytes(CANARY)))
    (referenced,) = list_result_files(path)
    old, temporary, young, foreign = (
        referenced.with_name(name) for name in ("a" * 32, f".{'b' * 32}.12345678", "c" * 32, "notes")
    )
    for file in (old, temporary, young, foreign):
        file.touch()
    for file in (referenced, old, temporary, foreign):
        os.utime(file, (1, 1))
    async with aw.SQLiteStore(path):
        pass
    assert list_result_files(path) == sorted([referenced, young, foreign])


# expiry


async def test_finished_jobs_expire_and_unfinished_ones_never_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with aw.SQLiteStore(path) as store:
        ended = [make_record(f"job-{number}").advance(Snapshot("t", Status.FAILED)) for number in range(2500)]
        ended.append(finish(make_record("with-media"), Bytes(CANARY)))
        for record in ended:
            await store.put(record)
        await store.acknowledge(ended)
        await store.open(make_record("unfinished"))
    now, day = time.time(), 86400
    for days in range(1, 31):
        monkeypatch.setattr(time, "time", lambda: now + days * day - 60)  # noqa: B023 - called in this iteration
        async with aw.SQLiteStore(path) as store:
            assert await store.get("job-1") is not None
    assert len(list_result_files(path)) == 1
    monkeypatch.setattr(time, "time", lambda: now + 30 * day + 60)
    async with aw.SQLiteStore(path) as store:
        assert [each.key async for each in store.unfinished()] == ["unfinished"]
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM records").fetchone() == (1,)
    other.close()
    assert list_result_files(path) == []


async def test_a_result_that_nobody_took_is_dropped_with_one_warning_and_its_key_stays_known_as_long_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, keep = time.time(), 3600.0
    async with aw.SQLiteStore(path, keep=keep) as store:
        await store.put(finish(make_record(), Bytes(CANARY)))
    monkeypatch.setattr(time, "time", lambda: now + keep + 60)
    async with aw.SQLiteStore(path, keep=keep) as store:
        known = await get_record(store, "job-1")
        assert isinstance(known.snapshot.outputs[0].error, aw.ResultExpired)
        assert list_result_files(path) == []
    monkeypatch.setattr(time, "time", lambda: now + 2 * keep + 180)
    async with aw.SQLiteStore(path, keep=keep) as store:
        await store.open(make_record("another"))
        assert await store.get("job-1") is None
    assert caplog.text.count("result not acknowledged") == 1


@pytest.mark.parametrize("years", [-10, 10])
async def test_a_jump_of_the_wall_clock_expires_nothing(
    path: Path, years: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_EXPIRE_INTERVAL", 0.0)
    jump = years * 365 * 86400
    now = time.time
    async with aw.SQLiteStore(path) as store:
        await store.put(finish(make_record("job-1")))
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        await store.put(finish(make_record("job-2")))
        assert await store.get("job-1") is not None
    async with aw.SQLiteStore(path) as store:
        monkeypatch.undo()
        await store.open(make_record("job-3"))
        assert await store.get("job-1") is not None
        assert await store.get("job-2") is not None


async def test_a_store_that_stays_open_removes_expired_jobs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_EXPIRE_INTERVAL", 0.0)
    async with aw.SQLiteStore(path, keep=0.0) as store:
        await store.put(finish(make_record("job-1")))
        await store.open(make_record("job-2"))
        assert await store.get("job-1") is None
        assert await store.get("job-2") is not None


# opening and closing


async def test_every_call_on_a_closed_store_raises(path: Path) -> None:
    store = aw.SQLiteStore(path)
    calls: list[Callable[[], Any]] = [
        lambda: store.open(make_record()),
        lambda: store.put(make_record()),
        lambda: store.get("job-1"),
        lambda: store.forget(make_record()),
        lambda: anext(aiter(store.unfinished())),
    ]
    for call in calls:
        with pytest.raises(aw.StoreError, match="is closed"):
            await call()


async def test_a_store_opened_concurrently_stays_open_until_its_last_user_closes_it(path: Path) -> None:
    store = aw.SQLiteStore(path)
    await asyncio.gather(*(store.__aenter__() for _ in range(5)))
    for _ in range(4):
        await store.__aexit__()
        await store.put(make_record())
    await store.__aexit__()
    with pytest.raises(aw.StoreError, match="is closed"):
        await store.get("job-1")


async def test_closing_completes_the_calls_made_before(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        writing = [asyncio.ensure_future(store.open(make_record(f"job-{number}"))) for number in range(3000)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*writing) == [None] * 3000
    assert [file.name for file in path.parent.iterdir()] == ["jobs.db"]
    async with aw.SQLiteStore(path) as store:
        assert len([each async for each in store.unfinished()]) == 3000


async def test_a_store_whose_opening_was_cancelled_opens_again(path: Path) -> None:
    store = aw.SQLiteStore(path)
    opening = asyncio.ensure_future(store.__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with store:
        assert await store.open(make_record()) is None


async def test_a_store_that_failed_to_open_opens_after_the_cause_was_removed(path: Path) -> None:
    path.mkdir()
    store = aw.SQLiteStore(path)
    await assert_open_fails(store, "folder")
    path.rmdir()
    async with store:
        assert await store.open(make_record()) is None


async def test_a_store_is_open_on_one_loop_at_a_time_and_survives_a_loop_that_did_not_close_it(path: Path) -> None:
    store = aw.SQLiteStore(path)

    async def open_only() -> None:
        await store.__aenter__()

    async with store:
        with pytest.raises(aw.InvalidInput, match="another event loop"):
            await asyncio.to_thread(asyncio.run, open_only())
    await asyncio.to_thread(asyncio.run, open_only())
    async with store:
        assert await store.open(make_record()) is None


async def test_a_cancelled_write_is_made_completely_or_not_at_all(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(record := make_record())
        writing = asyncio.ensure_future(store.put(finish(record, Bytes(CANARY))))
        for _ in range(3):
            await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        known = await get_record(store, "job-1")
        assert known.snapshot.status in {Status.IN_DOUBT, Status.SUCCEEDED}
        for output in known.snapshot.outputs:
            assert await read_media(output.media) == CANARY


async def test_a_key_that_cannot_be_stored_fails_only_its_own_call(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        good, bad = await asyncio.gather(
            store.open(make_record()), store.open(make_record("\ud800")), return_exceptions=True
        )
        assert good is None
        assert isinstance(bad, aw.StoreError)
        assert await store.put(accept(make_record())) == accept(make_record())
