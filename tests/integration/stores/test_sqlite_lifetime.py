"""The store in a file over time: results in files, old jobs, opening and closing."""

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
from aiowatermark.stores.sqlite import worker as sqlite_thread

from .conftest import finished, kept, queued, read, record, refused

CANARY = b"canary-content"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


# results in files


async def test_no_content_stands_in_the_database_and_no_key_in_a_files_name(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(mine := record("canary-order"))
        await store.put(finished(mine, Bytes(CANARY)))
        assert all(CANARY not in file.read_bytes() for file in path.parent.iterdir() if file.is_file())
    (file,) = kept(path)
    assert file.read_bytes() == CANARY
    assert "canary" not in file.name
    assert not {stat.st_mode & 0o077 for stat in (path.stat(), file.parent.stat())} - {0}


async def test_results_go_with_their_record(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        for key in ("order-1", "order-2"):
            await store.open(mine := record(key))
            await store.put(finished(mine, Bytes(CANARY), Bytes(b"more")))
        assert len(kept(path)) == 4
        await store.forget("order-1")
        assert len(kept(path)) == 2
        known = await store.get("order-2")
        assert known is not None
        assert await read(known.snapshot.outputs[0].media) == CANARY


async def test_a_result_whose_file_is_gone_has_expired_and_the_record_is_there(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(mine := record())
        await store.put(finished(mine, Bytes(CANARY), aw.as_media("https://results.example/a.jpg")))
        kept(path)[0].unlink()
        known = await store.get("order-1")
        assert known is not None
        gone, there = known.snapshot.outputs
        assert isinstance(gone.error, aw.ResultExpired)
        assert there.media is not None


async def test_what_is_no_base64_costs_the_output_and_not_the_record(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(mine := record())
        await store.put(finished(mine, Base64Text("*not base64*")))
        known = await store.get("order-1")
        assert known is not None
        assert isinstance(known.snapshot.outputs[0].error, aw.ResultExpired)
    assert kept(path) == []


async def test_files_that_came_before_the_end_stay_until_the_record_goes(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(mine := record())
        early = mine.advance(Snapshot("task-1", Status.RUNNING, outputs=(Output(Bytes(CANARY)),)))
        await store.put(early)
        known = await store.get("order-1")
        assert known is not None
        await store.put(finished(known, *(output.media for output in known.snapshot.outputs if output.media)))
        known = await store.get("order-1")
        assert known is not None
        assert await read(known.snapshot.outputs[0].media) == CANARY
        await store.forget("order-1")
    assert kept(path) == []


async def test_files_a_crash_left_are_swept_once_they_are_nobodys(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(mine := record())
        await store.put(finished(mine, Bytes(CANARY)))
    (spoken_of,) = kept(path)
    old, part, young, foreign = (spoken_of.with_name(n) for n in ("a" * 32, f".{'b' * 32}.12345678", "c" * 32, "notes"))
    for file in (old, part, young, foreign):
        file.touch()
    for file in (spoken_of, old, part, foreign):
        os.utime(file, (1, 1))
    async with aw.SQLiteStore(path):
        pass
    assert kept(path) == sorted([spoken_of, young, foreign])


# time


async def test_finished_jobs_are_removed_when_they_are_old_and_unfinished_ones_never(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aw.SQLiteStore(path) as store:
        for number in range(2500):
            await store.put(record(f"order-{number}").advance(Snapshot("t", Status.FAILED)))
        await store.put(finished(record("with-content"), Bytes(CANARY)))
        await store.open(record("waiting"))
    month = 30 * 86400
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + month - 60)
    async with aw.SQLiteStore(path) as store:
        assert await store.get("order-1") is not None
        assert len(kept(path)) == 1
    monkeypatch.setattr(time, "time", lambda: now + month + 60)
    async with aw.SQLiteStore(path) as store:
        assert [each.key async for each in store.unfinished()] == ["waiting"]
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM records").fetchone() == (1,)
    other.close()
    assert kept(path) == []


async def test_a_store_that_stays_open_tidies_up_now_and_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_thread, "_EXPIRE_INTERVAL", 0.0)
    async with aw.SQLiteStore(path, keep=0.0) as store:
        await store.put(finished(record("order-1")))
        await store.open(record("order-2"))
        assert await store.get("order-1") is None
        assert await store.get("order-2") is not None


# opening and closing


async def test_a_closed_store_says_so(path: Path) -> None:
    store = aw.SQLiteStore(path)
    calls: list[Callable[[], Any]] = [
        lambda: store.open(record()),
        lambda: store.put(record()),
        lambda: store.get("order-1"),
        lambda: store.forget("order-1"),
        lambda: anext(aiter(store.unfinished())),
    ]
    for call in calls:
        with pytest.raises(aw.StoreError, match="is closed"):
            await call()


async def test_it_is_open_until_the_last_of_many_that_opened_it_at_once_has_left(path: Path) -> None:
    store = aw.SQLiteStore(path)
    await asyncio.gather(*(store.__aenter__() for _ in range(5)))
    for _ in range(4):
        await store.__aexit__()
        await store.put(record())
    await store.__aexit__()
    with pytest.raises(aw.StoreError, match="is closed"):
        await store.get("order-1")


async def test_closing_writes_what_was_asked_for_before(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        writing = [asyncio.ensure_future(store.open(record(f"order-{number}"))) for number in range(3000)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*writing) == [None] * 3000
    assert [file.name for file in path.parent.iterdir()] == ["jobs.db"]
    async with aw.SQLiteStore(path) as store:
        assert len([each async for each in store.unfinished()]) == 3000


async def test_opening_that_is_cancelled_leaves_a_store_that_opens_again(path: Path) -> None:
    store = aw.SQLiteStore(path)
    opening = asyncio.ensure_future(store.__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with store:
        assert await store.open(record()) is None


async def test_a_store_that_could_not_be_opened_opens_once_the_reason_is_gone(path: Path) -> None:
    path.mkdir()
    store = aw.SQLiteStore(path)
    await refused(store, "folder")
    path.rmdir()
    async with store:
        assert await store.open(record()) is None


async def test_one_store_is_not_open_on_two_loops_and_outlives_a_loop_that_never_closed_it(path: Path) -> None:
    store = aw.SQLiteStore(path)

    async def elsewhere() -> None:
        await store.__aenter__()

    async with store:
        with pytest.raises(aw.InvalidInput, match="another event loop"):
            await asyncio.to_thread(asyncio.run, elsewhere())
    await asyncio.to_thread(asyncio.run, elsewhere())
    async with store:
        assert await store.open(record()) is None


async def test_a_cancelled_write_is_done_or_not_and_never_half(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(mine := record())
        writing = asyncio.ensure_future(store.put(finished(mine, Bytes(CANARY))))
        for _ in range(3):
            await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        known = await store.get("order-1")
        assert known is not None
        assert known.snapshot.status in {Status.IN_DOUBT, Status.SUCCEEDED}
        for output in known.snapshot.outputs:
            assert await read(output.media) == CANARY


async def test_a_key_that_cannot_be_stored_spoils_nothing_for_others(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        good, bad = await asyncio.gather(store.open(record()), store.open(record("\ud800")), return_exceptions=True)
        assert good is None
        assert isinstance(bad, aw.StoreError)
        assert await store.put(queued(record())) == queued(record())
