"""RedisStore on a real Redis: what the tests for all stores do not cover."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve

from aiowatermark import Delivery, InvalidInput, RedisStore, StoreError
from aiowatermark.jobs import INITIAL_SNAPSHOT, Snapshot, Status
from aiowatermark.media.memory import Base64Text, Bytes
from aiowatermark.stores import JobStore
from aiowatermark.stores.coordination import Coordinator
from aiowatermark.stores.redis.connection import Connection
from aiowatermark.stores.redis.keys import Command
from aiowatermark.stores.redis.scripts import LEASE
from tests.support.records import ACCOUNT, accept, finish, make_record
from tests.support.redis_server import RedisServer
from tests.support.stores import OpenStore, get_record, put_record
from tests.support.waiting import wait_until


async def test_it_is_a_job_store_and_has_a_coordinator(open_store: OpenStore) -> None:
    store: JobStore = await open_store()
    coordinator: Coordinator | None = store.coordinator
    assert coordinator is not None
    assert coordinator.lease == 5.0


async def test_a_job_costs_three_round_trips(open_store: OpenStore) -> None:
    store = await open_store()
    record = make_record(callback="c" * 32)
    before = store.round_trips
    assert await store.open(record) is None
    record = await put_record(store, accept(record))
    await store.put(finish(record))
    assert store.round_trips - before == 3


async def test_concurrent_jobs_share_round_trips(open_store: OpenStore) -> None:
    store = await open_store()
    before = store.round_trips
    await asyncio.gather(*(store.open(make_record(f"job-{number}")) for number in range(200)))
    assert store.round_trips - before <= 20


async def test_media_in_memory_are_restored_unchanged(open_store: OpenStore) -> None:
    store = await open_store()
    record = make_record()
    await store.open(record)
    await store.put(finish(record, Base64Text("aGVsbG8=", "a.png"), Bytes(b"\x00\xff", "b.jpg")))
    restored = await get_record(await open_store(), "job-1")
    first, second = (output.media for output in restored.snapshot.outputs)
    assert isinstance(first, Base64Text)
    assert isinstance(second, Bytes)
    assert (first.text, first.name) == ("aGVsbG8=", "a.png")
    assert (second.data, second.name) == (b"\x00\xff", "b.jpg")


async def test_of_two_replicas_that_open_a_key_exactly_one_inserts(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    keys = [f"job-{number}" for number in range(100)]
    results = await asyncio.gather(*(store.open(make_record(key)) for key in keys for store in (first, second)))
    for in_first, in_second in zip(results[::2], results[1::2], strict=True):
        assert (in_first is None) != (in_second is None)


async def test_a_terminal_record_is_never_replaced_by_another_replica(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    record = make_record()
    await first.open(record)
    queued = accept(record)
    ended = finish(queued)
    assert await first.put(ended) is ended
    late = queued.advance(Snapshot("task-1", Status.RUNNING, progress=0.5))
    assert (await put_record(second, late)).snapshot.status is Status.SUCCEEDED
    assert (await put_record(second, evolve(late, version=99))).snapshot.status is Status.SUCCEEDED


async def test_a_finished_record_expires_and_an_unfinished_one_does_not(
    open_store: OpenStore, redis_server: RedisServer
) -> None:
    store = await open_store(keep=3600.0, lease=0.1)
    for key in ("finished", "unfinished"):
        await store.open(make_record(key, callback=key * 8))
    await store.put(done := finish(make_record("finished", callback="finished" * 8), Bytes(b"x")))
    await store.acknowledge([done])
    await wait_until(lambda: len(expiring_keys(redis_server, store)) == 4)
    expiring = expiring_keys(redis_server, store)
    assert sum(":job:" in key for key in expiring) == 2
    assert all(3_000_000 < remaining_ms(redis_server, key) <= 3_600_000 for key in expiring)


def list_redis_keys(server: RedisServer, store: RedisStore) -> list[str]:
    """All keys of a store. KEYS blocks the server, so only a test may use it."""
    words = server.execute(f"KEYS *{store.prefix}*").decode().split("\r\n")
    return [word for word in words if word.startswith("{")]


def expiring_keys(server: RedisServer, store: RedisStore) -> list[str]:
    return [key for key in list_redis_keys(server, store) if remaining_ms(server, key) > 0]


def remaining_ms(server: RedisServer, key: str) -> int:
    """Milliseconds until a key expires; negative if it does not."""
    return int(server.execute(f'PTTL "{key}"').decode().strip().lstrip(":"))


async def test_a_result_that_nobody_took_in_time_is_logged_once_and_its_key_stays_known(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store(keep=0.2)
    await store.open(record := make_record())
    await store.put(finish(record, Bytes(b"x")))
    assert [each.key async for each in store.unacknowledged()] == ["job-1"]
    async with asyncio.timeout(30):
        while "result not acknowledged" not in caplog.text:
            assert [each.key async for each in store.unacknowledged()] in ([], ["job-1"])
            await asyncio.sleep(0.01)
    assert await store.get("job-1") is not None
    assert [each.key async for each in store.unacknowledged()] == []


async def test_key_names_contain_no_text_of_the_caller(open_store: OpenStore, redis_server: RedisServer) -> None:
    store = await open_store()
    await store.open(make_record("order {4711} of Ann", callback="c" * 32))
    await store.coordinator.acquire(ACCOUNT, 1000.0, is_submission=True)
    names = list_redis_keys(redis_server, store)
    assert len(names) >= 6
    assert not [name for name in names if "4711" in name or ACCOUNT in name or "cccc" in name]


async def test_unfinished_jobs_are_listed_oldest_first_without_scanning_all_keys(open_store: OpenStore) -> None:
    with RedisServer() as server:
        store = await open_store(server)
        times = [5.0, 3.0, 4.0, 1.0, 2.0]
        for number, created in enumerate(times):
            await store.open(evolve(make_record(f"job-{number}"), created_at=created, account=f"account-{number % 2}"))
        await store.put(finish(evolve(make_record("job-2"), account="account-0")))
        reader = await open_store(server)
        assert [each.key async for each in reader.unfinished()] == ["job-3", "job-4", "job-1", "job-0"]
        commands = server.execute("INFO commandstats")
        assert b"cmdstat_scan" not in commands
        assert b"cmdstat_keys" not in commands


async def test_a_thousand_unfinished_jobs_are_listed_in_pages(open_store: OpenStore) -> None:
    store = await open_store()
    await asyncio.gather(*(store.open(make_record(f"job-{number}")) for number in range(1000)))
    assert len([each.key async for each in (await open_store()).unfinished()]) == 1000


async def test_forgetting_a_job_deletes_all_its_keys(open_store: OpenStore, redis_server: RedisServer) -> None:
    store = await open_store()
    record = make_record(callback="c" * 32)
    await store.open(record)
    await store.put(done := finish(accept(record), Bytes(b"x")))
    assert await (await open_store()).forget(done)
    assert await store.get("job-1") is None
    assert await store.by_callback("c" * 32) is None
    kinds = (":job:", ":callback:", ":task:")
    assert not [name for name in list_redis_keys(redis_server, store) if any(kind in name for kind in kinds)]


async def test_scripts_that_the_server_has_not_cached_are_sent_again(
    open_store: OpenStore, redis_server: RedisServer
) -> None:
    store = await open_store()
    redis_server.execute("SCRIPT FLUSH")
    record = make_record()
    assert await store.open(record) is None
    assert (await put_record(store, accept(record))).snapshot.task_id == "task-1"
    assert [each.key async for each in store.unfinished()] == ["job-1"]


async def test_a_cancelled_open_leaves_no_record(open_store: OpenStore) -> None:
    store = await open_store(lease=0.2)
    ticks = 0
    for ticks in range(12):
        task = asyncio.create_task(store.open(make_record(f"job-{ticks}", callback=f"{ticks:032}")))
        for _ in range(ticks):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await wait_until(lambda: store._membership.backlog.empty)
    other = await open_store()
    assert {each.key async for each in other.unfinished()} <= {f"job-{ticks}"}
    assert await store.open(make_record("job-1")) is None


async def test_a_record_that_put_has_inserted_is_listed_as_unfinished(open_store: OpenStore) -> None:
    store = await open_store()
    record = accept(make_record())
    assert await store.put(record) is record
    assert [each.key async for each in (await open_store()).unfinished()] == ["job-1"]


async def test_a_paid_record_that_was_inserted_but_not_leased_is_indexed_by_the_next_heartbeat(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = await open_store(lease=0.2), await open_store()
    execute = Connection.execute

    async def lose_the_first_lease(
        self: Connection, *commands: Command, probe: bool = False, **options: Any
    ) -> list[Any]:
        if self is store._connection and not probe and any(command.name is LEASE for command in commands):
            raise StoreError("no reply")
        return await execute(self, *commands, probe=probe, **options)

    monkeypatch.setattr(Connection, "execute", lose_the_first_lease)
    paid = accept(make_record("paid"))
    assert await store.put(paid) is paid
    await wait_until(lambda: store._membership.backlog.empty)
    assert [each.key async for each in other.unfinished()] == ["paid"]


@pytest.mark.slow
async def test_every_script_touches_one_hash_slot_of_a_cluster() -> None:
    with RedisServer("--cluster-enabled", "yes", "--port", str(free_cluster_port())) as server:
        server.execute("CLUSTER ADDSLOTSRANGE 0 16383")
        await wait_until(lambda: b"cluster_state:ok" in server.execute("CLUSTER INFO"))
        async with RedisStore(server.url, lease=0.2) as store, RedisStore(server.url, lease=0.2) as other:
            record = make_record(callback="c" * 32)
            assert await store.open(record) is None
            await store.put(accept(record))
            await store.coordinator.acquire(ACCOUNT, 1000.0, is_submission=True)
            await store.coordinator.pause(ACCOUNT, 0.001)
            async with store.coordinator.slot(ACCOUNT, 1):
                assert await other.coordinator.forward("c" * 32, Delivery(b"{}"))
            assert not await other.coordinator.claim(record)
            await store.coordinator.hand_over(record)
            assert [each.key async for each in other.coordinator.orphans(ACCOUNT)] == ["job-1"]
            assert (await other.by_callback("c" * 32)) is not None
            assert [each.key async for each in store.unfinished()] == ["job-1"]
            await store.put(done := finish(accept(record), Bytes(b"x")))
            assert await store.forget(done)


def free_cluster_port() -> int:
    """Return a free port below 55,000: the cluster bus uses the port 10,000 above it."""
    for port in range(20_000, 30_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


# URLs, settings and errors


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "redis://:canary-1/2@host",
        "redis://:1/canary@host",
        "redis://host:canary",
        "",
        "redis://h?x=canary@",
    ],
)
def test_an_invalid_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RedisStore(url)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("settings", [{"keep": 0}, {"lease": -1.0}, {"prefix": "a{b}"}, {"prefix": ""}])
def test_invalid_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        RedisStore("redis://localhost", **settings)


async def test_a_password_appears_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RedisServer("--requirepass", "right") as server:
        url = f"unix://:canary-password@{server.socket}?db=0"
        assert "canary" not in repr(RedisStore(url))
        with pytest.raises(StoreError, match="refuses the user or password") as refused:
            await RedisStore(url).__aenter__()
        assert "canary" not in repr(refused.value) + str(refused.value) + caplog.text
        async with RedisStore(url.replace("canary-password", "right")) as store:
            await store.open(make_record())


async def test_entering_a_store_where_no_server_answers_raises() -> None:
    with pytest.raises(StoreError, match=r"redis://127\.0\.0\.1:1/0 is unavailable"):
        await RedisStore("redis://:canary@127.0.0.1:1/0").__aenter__()


async def test_every_call_on_a_closed_store_raises(open_store: OpenStore, redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    with pytest.raises(StoreError, match="closed"):
        await store.open(make_record())
    with pytest.raises(StoreError, match="closed"):
        await store.put(accept(make_record()))
    with pytest.raises(StoreError, match="closed"):
        await store.coordinator.acquire(ACCOUNT, 10.0, is_submission=True)


async def test_a_store_stays_open_until_its_last_user_closes_it(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, prefix="shared")
    async with store:
        async with store:
            await store.open(make_record("shared"))
        assert await store.get("shared") is not None
    async with store:
        assert (known := await store.get("shared")) is not None
        assert await store.forget(known)


async def test_a_damaged_record_is_logged_and_hides_no_other(
    open_store: OpenStore, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store()
    await store.open(make_record("intact"))
    await store.open(make_record("corrupt"))
    names = [name for name in list_redis_keys(redis_server, store) if ":job:" in name]
    for name in names:
        if b"corrupt" in redis_server.execute(f'HGET "{name}" record'):
            redis_server.execute(f'HSET "{name}" record nonsense')
    assert [each.key async for each in store.unfinished()] == ["intact"]
    assert "damaged" in caplog.text
    with pytest.raises(StoreError, match="damaged"):
        await store.get("corrupt")


def test_a_new_record_begins_with_the_initial_snapshot() -> None:
    assert make_record().snapshot is INITIAL_SNAPSHOT
