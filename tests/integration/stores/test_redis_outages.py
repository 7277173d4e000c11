"""Outages of Redis: nothing new is submitted meanwhile, no submitted job is lost, and everything reconnects."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from aiowatermark import Delivery, RedisStore, StoreError
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.redis.connection import SENDERS, Connection
from aiowatermark.stores.redis.keys import Command, digest
from tests.support.records import ACCOUNT, accept, finish, make_record
from tests.support.redis_server import RedisServer
from tests.support.stores import get_record, put_record, use_slot
from tests.support.waiting import run_ready_tasks, wait_until

LEASE = 0.3


@pytest.fixture
def sdk_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log of the SDK from INFO on."""
    caplog.set_level(logging.INFO, logger="aiowatermark")
    return caplog


def redis_messages(sdk_log: pytest.LogCaptureFixture, level: int) -> list[str]:
    """The messages of that level about the connection."""
    return [each.getMessage() for each in sdk_log.records if each.levelno == level and "Redis" in each.getMessage()]


async def wait_connected(store: RedisStore) -> None:
    """Wait until the outage has ended."""
    await wait_until(lambda: not store._connection.disconnected)


async def wait_disconnected(store: RedisStore) -> None:
    await wait_until(lambda: store._connection.disconnected)


async def test_during_an_outage_everything_before_a_paid_request_raises(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=LEASE) as store:
        uploading = Record("video", "kaze", Snapshot(None, Status.UPLOADING), account=ACCOUNT, created_at=1.0)
        await store.open(uploading)
        volatile_server.kill()
        with pytest.raises(StoreError, match="is unavailable"):
            await store.open(make_record("new"))
        with pytest.raises(StoreError, match="is unavailable"):
            await store.put(uploading.advance(Snapshot("task-1", Status.UPLOADING)))
        with pytest.raises(StoreError, match="is unavailable"):
            await store.put(uploading.advance(Snapshot("task-1", Status.IN_DOUBT)))
        with pytest.raises(StoreError, match="is unavailable"):
            await store.coordinator.acquire(ACCOUNT, 100.0, is_submission=True)
        with pytest.raises(StoreError, match="is unavailable"):
            await store.coordinator.acquire(ACCOUNT, None, is_submission=True)
        with pytest.raises(StoreError, match="is unavailable"):
            async with store.coordinator.slot(ACCOUNT, 4):
                pass
        with pytest.raises(StoreError, match="is unavailable"):
            await store.coordinator.forward("c" * 32, Delivery(b""))
        with pytest.raises(StoreError, match="is unavailable"):
            await store.coordinator.claim(uploading)
        assert [each.key async for each in store.coordinator.orphans(ACCOUNT)] == []
        volatile_server.start()
        await wait_connected(store)
        assert await store.open(make_record("new")) is None


async def test_records_of_submitted_jobs_are_written_after_the_outage(persistent_server: RedisServer) -> None:
    async with RedisStore(persistent_server.url, lease=LEASE) as store, RedisStore(persistent_server.url) as other:
        running, done = make_record("running"), make_record("done", callback="c" * 32)
        await store.open(running)
        await store.open(done)
        persistent_server.kill()
        running = accept(running)
        assert await store.put(running) is running
        queued = await put_record(store, accept(done))
        ended = finish(queued, Bytes(b"image"))
        assert await store.put(ended) is ended
        assert await store.put(queued) is ended
        assert await store.get("running") is running
        persistent_server.start()
        await wait_connected(store)
        known = await get_record(other, "running")
        assert known.snapshot.task_id == "task-1"
        found = await other.by_callback("c" * 32)
        assert found is not None
        assert isinstance(found.snapshot.outputs[0].media, Bytes)
        assert [each.key async for each in other.unfinished()] == ["running"]


async def test_a_redis_that_lost_its_data_gets_the_unfinished_jobs_again(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=LEASE) as store:
        for number in range(120):
            await store.open(make_record(f"job-{number}", callback=f"{number:032}"))
        await store.put(accept(make_record("job-7", callback=f"{7:032}")))
        await store.put(finish(make_record("job-8")))
        volatile_server.kill()
        volatile_server.start()
        await asyncio.sleep(LEASE)
        await wait_connected(store)
        async with RedisStore(volatile_server.url, lease=LEASE) as other:
            found: set[str] = set()
            async with asyncio.timeout(30):
                while len(found) < 119:
                    found = {each.key async for each in other.unfinished()}
            assert found == {f"job-{number}" for number in range(120) if number != 8}
            known = await other.by_callback(f"{7:032}")
            assert known is not None
            assert known.snapshot.task_id == "task-1"
            assert not await other.coordinator.claim(known)


async def test_during_an_outage_polls_continue_at_a_local_rate_limit(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=LEASE) as store:
        await store.coordinator.acquire(ACCOUNT, 50.0, is_submission=True)
        volatile_server.kill()
        before = time.monotonic()
        async with asyncio.timeout(30):
            for _ in range(6):
                await store.coordinator.acquire(ACCOUNT, 50.0, is_submission=False)
        assert time.monotonic() - before >= 0.09


async def test_a_redis_that_never_replies_blocks_no_call_beyond_the_timeout(volatile_server: RedisServer) -> None:
    async with RedisStore(f"{volatile_server.url}?socket_timeout=0.3", lease=LEASE) as store:
        record = make_record()
        await store.open(record)
        with volatile_server.frozen():
            async with asyncio.timeout(30):
                await store.coordinator.acquire(ACCOUNT, 1000.0, is_submission=False)
                record = accept(record)
                assert await store.put(record) is record
                with pytest.raises(StoreError, match="is unavailable"):
                    await store.open(make_record("new"))
        await wait_connected(store)
        assert [each.key async for each in store.unfinished()] == ["job-1"]
        known = await get_record(store, "job-1")
        assert known.snapshot.task_id == "task-1"


async def test_an_open_without_a_reply_is_undone(volatile_server: RedisServer) -> None:
    async with RedisStore(f"{volatile_server.url}?socket_timeout=0.3", lease=LEASE) as store:
        with volatile_server.frozen(), pytest.raises(StoreError, match=r"is unavailable .* it is deleted later"):
            await store.open(make_record("never", callback="c" * 32))
        await wait_connected(store)
        assert await store.get("never") is None
        assert [each.key async for each in store.unfinished()] == []
        assert await store.open(make_record("never")) is None


async def test_a_record_forgotten_during_an_outage_is_deleted_after_it(persistent_server: RedisServer) -> None:
    async with RedisStore(persistent_server.url, lease=LEASE) as store:
        await store.open(record := make_record("rejected", callback="c" * 32))
        persistent_server.kill()
        await wait_disconnected(store)
        await store.forget(record)
        persistent_server.start()
        await wait_connected(store)
        assert await store.get("rejected") is None
        assert await store.by_callback("c" * 32) is None
        assert [each.key async for each in store.unfinished()] == []


async def test_an_unknown_record_is_not_deleted_during_an_outage_and_the_error_says_so(
    persistent_server: RedisServer,
) -> None:
    async with RedisStore(persistent_server.url, lease=LEASE) as store, RedisStore(persistent_server.url) as other:
        await other.open(theirs := make_record("theirs"))
        persistent_server.kill()
        await wait_disconnected(store)
        with pytest.raises(StoreError, match=r"is unavailable .* the record was not deleted"):
            await store.forget(theirs)
        persistent_server.start()
        await wait_connected(store)
        assert await store.get("theirs") is not None


async def test_closing_during_an_outage_logs_the_jobs_that_could_not_be_deleted(
    persistent_server: RedisServer, sdk_log: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(persistent_server.url, lease=LEASE) as store:
        await store.open(record := make_record("rejected"))
        persistent_server.kill()
        await wait_disconnected(store)
        await store.forget(record)
    assert "job rejected could not be deleted from the store" in sdk_log.text
    persistent_server.start()
    async with store:
        assert await store.get("rejected") is not None


async def test_forwarded_callbacks_and_slots_work_again_after_an_outage(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=LEASE) as one, RedisStore(volatile_server.url, lease=LEASE) as two:
        received: list[bytes] = []
        one.coordinator.subscribe(lambda _, delivery: received.append(delivery.body))
        async with one.coordinator.slot(ACCOUNT, 2), two.coordinator.slot(ACCOUNT, 2):
            await one.open(make_record(callback="c" * 32))
            volatile_server.kill()
            await asyncio.gather(wait_disconnected(one), wait_disconnected(two))
            volatile_server.start()
            await asyncio.gather(wait_connected(one), wait_connected(two))
            third = asyncio.create_task(use_slot(two, 2))
            await asyncio.sleep(0.3)
            assert not third.done()  # the two slots in use were reported again
        await asyncio.wait_for(third, 30)
        async with asyncio.timeout(30):
            while not received:
                await two.coordinator.forward("c" * 32, Delivery(b"1"))
                await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_right_after_an_outage_no_living_replica_loses_its_jobs(persistent_server: RedisServer) -> None:
    url, lease = persistent_server.url, 2.0
    async with RedisStore(url, lease=lease) as first, RedisStore(url, lease=lease) as second:
        await first.open(make_record())
        persistent_server.kill()
        await asyncio.gather(wait_disconnected(first), wait_disconnected(second))
        await asyncio.sleep(lease)
        persistent_server.start()
        await wait_connected(second)
        deadline = time.monotonic() + 3 * lease
        while time.monotonic() < deadline:
            assert [each.key async for each in second.coordinator.orphans(ACCOUNT)] == []
            await asyncio.sleep(0.02)


async def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(
    sdk_log: pytest.LogCaptureFixture,
) -> None:
    with RedisServer("--requirepass", "canary") as server:
        url = server.url.replace("unix://", "unix://:canary@")
        async with RedisStore(url, lease=LEASE) as store:
            await store.open(make_record())
            server.kill()
            for _ in range(3):
                await store.put(accept(make_record()))
            await asyncio.sleep(2 * LEASE)
            server.start()
            await wait_connected(store)
    assert len(redis_messages(sdk_log, logging.WARNING)) == 1
    assert len(redis_messages(sdk_log, logging.INFO)) == 1
    assert "canary" not in sdk_log.text


async def test_closing_during_an_outage_logs_the_tokens_of_unwritten_jobs(
    volatile_server: RedisServer, sdk_log: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(volatile_server.url, lease=LEASE) as store:
        await store.open(make_record())
        volatile_server.kill()
        record = await put_record(store, accept(make_record()))
    assert record.token in sdk_log.text
    volatile_server.start()
    async with store:  # the same store, opened again, still holds the unwritten record
        await wait_until(lambda: store._membership.backlog.empty)
        assert (await store.get("job-1")) is not None


async def test_a_redis_that_cannot_write_counts_as_unavailable(
    volatile_server: RedisServer, sdk_log: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(volatile_server.url, lease=LEASE) as store:
        await store.open(make_record())
        volatile_server.execute("CONFIG SET maxmemory 1")
        with pytest.raises(StoreError, match="is unavailable"):
            await store.open(make_record("new"))
        record = accept(make_record())
        assert await store.put(record) is record
        volatile_server.execute("CONFIG SET maxmemory 0")
        await wait_connected(store)
        async with RedisStore(volatile_server.url) as other:
            known = await get_record(other, "job-1")
            assert known.snapshot.task_id == "task-1"


async def test_an_idle_connection_that_was_cut_is_replaced_without_a_warning(
    volatile_server: RedisServer, sdk_log: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(volatile_server.url) as store:
        for number in range(10):
            volatile_server.execute("CLIENT KILL TYPE normal")
            assert await store.open(make_record(f"job-{number}")) is None
    assert redis_messages(sdk_log, logging.WARNING) == []


async def test_a_record_that_redis_refuses_blocks_no_other(
    persistent_server: RedisServer, sdk_log: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(persistent_server.url, lease=LEASE) as store, RedisStore(persistent_server.url) as other:
        for key in ("bad", "good"):
            await store.open(make_record(key))
        await refuse_one_of_two_writes(store, persistent_server)
        known = await get_record(other, "good")
        assert known.snapshot.task_id == "task-1"
        assert any("bad" in each.getMessage() for each in sdk_log.records)


async def refuse_one_of_two_writes(store: RedisStore, server: RedisServer) -> None:
    """Let the backlog write two jobs after an outage, one of them to a key of the wrong type."""
    server.kill()
    for key in ("bad", "good"):
        await store.put(accept(make_record(key)))
    server.start()
    record_key = store._keys.job(digest("bad")).record
    server.execute(f'DEL "{record_key}"')
    server.execute(f'SET "{record_key}" nonsense')
    await wait_until(lambda: store._membership.backlog.unwritten_record("good") is None)
    await wait_connected(store)


async def test_a_probe_that_is_queued_in_the_moment_in_which_all_senders_fail_is_sent(
    volatile_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, broken = Connection(volatile_server.url), asyncio.Event()
    await connection.open()
    execute_batch = Connection._execute_batch

    async def break_together(self: Connection, commands: list[Command]) -> list[object]:
        if not broken.is_set():
            await broken.wait()
            raise ConnectionError("gone")
        return await execute_batch(self, commands)

    async def probe() -> list[object]:
        # as the heartbeat does, which an outage wakes
        await connection.wakeup.wait(60.0)
        return await connection.execute(Command("PING", ()), probe=True)

    monkeypatch.setattr(Connection, "_execute_batch", break_together)
    probing = asyncio.create_task(probe())
    calls = []
    for _ in range(SENDERS):
        calls.append(asyncio.create_task(connection.execute(Command("PING", ()))))
        await run_ready_tasks()  # so that each call has a sender of its own
    broken.set()
    assert all(isinstance(reply, StoreError) for reply in await asyncio.gather(*calls, return_exceptions=True))
    async with asyncio.timeout(5):
        assert await probing
    await connection.close()


async def test_an_open_without_a_reply_deletes_nothing_that_another_client_has_taken_over_since(
    volatile_server: RedisServer,
) -> None:
    url = f"{volatile_server.url}?socket_timeout=0.3"
    uploading = make_record("shared", snapshot=Snapshot(None, Status.UPLOADING), epoch=5)
    async with RedisStore(url, lease=LEASE) as store, RedisStore(volatile_server.url, lease=LEASE) as other:
        execute = store._connection.execute_groups

        async def lose_the_reply(*groups: Any, **options: Any) -> Any:
            await execute(*groups, **options)
            raise StoreError("no reply")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(store._connection), "execute_groups", lambda _, *groups, **__: lose_the_reply(*groups))
            with pytest.raises(StoreError, match="no reply"):
                await store.open(uploading)
            taken_over = uploading.take_over("another", 6, 2.0, None, "")
            written = await other.put(taken_over)
        assert written == taken_over
        await store._membership.backlog.delete_queued("shared")
        assert await other.get("shared") == taken_over
        assert await store.open(make_record("shared", epoch=7)) == taken_over


async def test_a_record_that_was_not_inserted_is_never_written_over_the_one_that_has_its_key(
    volatile_server: RedisServer,
) -> None:
    paid = accept(make_record("shared", owner="first", epoch=5))
    async with RedisStore(volatile_server.url, lease=LEASE) as store, RedisStore(volatile_server.url) as other:
        await other.open(make_record("shared", owner="first", epoch=5))
        await other.put(paid)
        await other.coordinator.release(paid)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RedisStore, "get", raise_store_error)
            with pytest.raises(StoreError, match="no reply"):
                await store.open(make_record("shared", owner="second", epoch=9))
        assert store._membership.leased_record("shared") is None
        store._membership._needs_resync = True
        await store._membership.heartbeat()
        assert await store.get("shared") == paid


async def raise_store_error(*_: object) -> Record | None:
    raise StoreError("no reply")
