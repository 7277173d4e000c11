"""RedisStore over a real Redis: what the suite for all stores does not ask."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from attrs import evolve

from aiowatermark import Delivery, InvalidInput, RedisStore, StoreError
from aiowatermark.jobs import INITIAL_SNAPSHOT, Output, Snapshot, Status
from aiowatermark.media.memory import Base64Text, Bytes
from aiowatermark.stores import JobStore
from aiowatermark.stores.coordination import Coordinator
from tests.support.redis_records import ACCOUNT, Opened, accepted, finished, opened, own, record, redis_server, until
from tests.support.redis_server import RedisServer

__all__ = ["opened", "redis_server"]


async def test_it_is_a_store_and_has_commons(opened: Opened) -> None:
    store: JobStore = await opened()
    coordinator: Coordinator | None = store.coordinator
    assert coordinator is not None
    assert coordinator.lease == 5.0


async def test_a_job_costs_three_round_trips(opened: Opened) -> None:
    store: RedisStore = await opened()
    mine = record(callback="c" * 32)
    before = store.round_trips
    assert await store.open(mine) is None
    mine = await store.put(accepted(mine))
    await store.put(finished(mine))
    assert store.round_trips - before == 3


async def test_jobs_at_once_share_their_round_trips(opened: Opened) -> None:
    store: RedisStore = await opened()
    before = store.round_trips
    await asyncio.gather(*(store.open(record(f"job-{number}")) for number in range(200)))
    assert store.round_trips - before <= 20


async def test_media_in_an_answer_come_back_as_they_were(opened: Opened) -> None:
    store: RedisStore = await opened()
    mine = record()
    await store.open(mine)
    await store.put(finished(mine, Output(Base64Text("aGVsbG8=", "a.png")), Output(Bytes(b"\x00\xff", "b.jpg"))))
    back = await (await opened()).get("job-1")
    first, second = (output.media for output in back.snapshot.outputs)
    assert (first.text, first.name) == ("aGVsbG8=", "a.png")
    assert (second.data, second.name) == (b"\x00\xff", "b.jpg")


async def test_of_two_replicas_one_opens_a_key(opened: Opened) -> None:
    first, second = await opened(), await opened()
    keys = [f"job-{number}" for number in range(100)]
    answers = await asyncio.gather(*(store.open(record(key)) for key in keys for store in (first, second)))
    for one, other in zip(answers[::2], answers[1::2], strict=True):
        assert (one is None) != (other is None)


async def test_the_end_absorbs_and_the_newer_stays(opened: Opened) -> None:
    first, second = await opened(), await opened()
    mine = record()
    await first.open(mine)
    queued = accepted(mine)
    ended = finished(queued)
    assert await first.put(ended) is ended
    late = queued.advance(Snapshot("task-1", Status.RUNNING, progress=0.5))
    assert (await second.put(late)).snapshot.status is Status.SUCCEEDED
    assert (await second.put(evolve(late, version=99))).snapshot.status is Status.SUCCEEDED


async def test_a_finished_record_expires_and_an_unfinished_one_does_not(
    opened: Opened, redis_server: RedisServer
) -> None:
    store: RedisStore = await opened(keep=3600.0, lease=0.1)
    for key in ("goes", "stays"):
        await store.open(record(key, callback=key * 8))
    picture = finished(record("goes", callback="goes" * 8), Output(Bytes(b"x")))
    await store.put(picture)
    await until(lambda: len([key for key in await_keys(redis_server, store) if age(redis_server, key) > 0]) == 3)
    aged = {key for key in await_keys(redis_server, store) if age(redis_server, key) > 0}
    assert sum(":job:" in key for key in aged) == 2
    assert all(3_000_000 < age(redis_server, key) <= 3_600_000 for key in aged)


def await_keys(server: RedisServer, store: RedisStore) -> list[str]:
    """All keys of a store; only a test may ask so."""
    words = server.ask(f"KEYS *{store.prefix}*").decode().split("\r\n")
    return [word for word in words if word.startswith("{")]


def age(server: RedisServer, key: str) -> int:
    return int(server.ask(f'PTTL "{key}"').decode().strip().lstrip(":"))


async def test_users_texts_stand_in_no_key_of_redis(opened: Opened, redis_server: RedisServer) -> None:
    store: RedisStore = await opened()
    await store.open(record("order {4711} of Ann", callback="c" * 32))
    await store.coordinator.acquire(ACCOUNT, 1000.0, new=True)
    names = await_keys(redis_server, store)
    assert len(names) >= 6
    assert not [name for name in names if "4711" in name or ACCOUNT in name or "cccc" in name]


async def test_unfinished_jobs_come_oldest_first_without_a_search_of_everything(opened: Opened) -> None:
    async with own() as server:
        store: RedisStore = await opened(server)
        times = [5.0, 3.0, 4.0, 1.0, 2.0]
        for number, created in enumerate(times):
            await store.open(evolve(record(f"job-{number}"), created_at=created, account=f"account-{number % 2}"))
        await store.put(finished(evolve(record("job-2"), account="account-0")))
        reader = await opened(server)
        assert [each.key async for each in reader.unfinished()] == ["job-3", "job-4", "job-1", "job-0"]
        commands = server.ask("INFO commandstats")
        assert b"cmdstat_scan" not in commands
        assert b"cmdstat_keys" not in commands


async def test_a_thousand_unfinished_jobs_are_paged(opened: Opened) -> None:
    store: RedisStore = await opened()
    await asyncio.gather(*(store.open(record(f"job-{number}")) for number in range(1000)))
    assert len([each.key async for each in (await opened()).unfinished()]) == 1000


async def test_forgotten_is_gone_with_every_trace(opened: Opened, redis_server: RedisServer) -> None:
    store: RedisStore = await opened()
    mine = record(callback="c" * 32)
    await store.open(mine)
    await store.put(finished(mine, Output(Bytes(b"x"))))
    await (await opened()).forget("job-1")
    assert await store.get("job-1") is None
    assert await store.by_callback("c" * 32) is None
    assert not [name for name in await_keys(redis_server, store) if ":job:" in name or ":callback:" in name]


async def test_scripts_that_the_server_forgot_are_told_again(opened: Opened, redis_server: RedisServer) -> None:
    store: RedisStore = await opened()
    redis_server.ask("SCRIPT FLUSH")
    mine = record()
    assert await store.open(mine) is None
    assert (await store.put(accepted(mine))).snapshot.task_id == "task-1"
    assert [each.key async for each in store.unfinished()] == ["job-1"]


async def test_a_cancelled_opening_leaves_nothing(opened: Opened) -> None:
    store: RedisStore = await opened(lease=0.2)
    ticks = 0
    for ticks in range(12):
        task = asyncio.create_task(store.open(record(f"job-{ticks}", callback=f"{ticks:032}")))
        for _ in range(ticks):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.sleep(0.3)
    other = await opened()
    assert {each.key async for each in other.unfinished()} <= {f"job-{ticks}"}
    assert await store.open(record("job-1")) is None


async def test_news_of_a_record_that_nobody_opened_can_be_found(opened: Opened) -> None:
    store: RedisStore = await opened()
    mine = accepted(record())
    assert await store.put(mine) is mine
    assert [each.key async for each in (await opened()).unfinished()] == ["job-1"]


async def test_every_script_keeps_to_one_slot_of_a_cluster() -> None:
    async with own("--cluster-enabled", "yes", "--port", str(free_port())) as server:
        server.ask("CLUSTER ADDSLOTSRANGE 0 16383")
        await until(lambda: b"cluster_state:ok" in server.ask("CLUSTER INFO"))
        async with RedisStore(server.url, lease=0.2) as store, RedisStore(server.url, lease=0.2) as other:
            mine = record(callback="c" * 32)
            assert await store.open(mine) is None
            await store.put(accepted(mine))
            await store.coordinator.acquire(ACCOUNT, 1000.0, new=True)
            await store.coordinator.pause(ACCOUNT, 0.001)
            async with store.coordinator.slot(ACCOUNT, 1):
                assert await other.coordinator.forward("c" * 32, Delivery(b"{}"))
            assert not await other.coordinator.claim(mine)
            await store.coordinator.hand_over(mine)
            assert [each.key async for each in other.coordinator.orphans(ACCOUNT)] == ["job-1"]
            assert (await other.by_callback("c" * 32)) is not None
            assert [each.key async for each in store.unfinished()] == ["job-1"]
            await store.put(finished(mine, Output(Bytes(b"x"))))
            await store.forget("job-1")


def free_port() -> int:
    """A port whose neighbour 10,000 above exists, for the cluster's bus."""
    import socket

    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port
        with socket.socket() as probe:
            for low in range(20_000, 30_000):
                try:
                    probe.bind(("127.0.0.1", low))
                except OSError:
                    continue
                return low


# addresses and errors


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
def test_an_address_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RedisStore(url)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"keep": 0}, {"lease": -1.0}, {"prefix": "a{b}"}, {"prefix": ""}])
def test_settings_that_cannot_be_right_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        RedisStore("redis://localhost", **wrong)


async def test_a_password_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with own("--requirepass", "right") as server:
        url = f"unix://:canary-password@{server.socket}?db=0"
        assert "canary" not in repr(RedisStore(url))
        with pytest.raises(StoreError, match="refuses the user or password") as refused:
            await RedisStore(url).__aenter__()
        assert "canary" not in repr(refused.value) + str(refused.value) + caplog.text
        async with RedisStore(url.replace("canary-password", "right")) as store:
            await store.open(record())


async def test_where_nothing_answers_entering_says_so() -> None:
    with pytest.raises(StoreError, match=r"redis://127\.0\.0\.1:1/0 is out of reach"):
        await RedisStore("redis://:canary@127.0.0.1:1/0").__aenter__()


async def test_a_closed_store_says_so(opened: Opened, redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    with pytest.raises(StoreError, match="closed"):
        await store.open(record())
    with pytest.raises(StoreError, match="closed"):
        await store.put(accepted(record()))
    with pytest.raises(StoreError, match="closed"):
        await store.coordinator.acquire(ACCOUNT, 10.0, new=True)


async def test_clients_of_one_loop_may_share_a_store(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, prefix="shared")
    async with store:
        async with store:
            await store.open(record("shared"))
        assert await store.get("shared") is not None
    async with store:
        assert await store.get("shared") is not None
        await store.forget("shared")


async def test_a_damaged_record_is_told_and_keeps_no_other_from_being_found(
    opened: Opened, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store: RedisStore = await opened()
    await store.open(record("whole"))
    await store.open(record("broken"))
    names = [name for name in await_keys(redis_server, store) if ":job:" in name]
    for name in names:
        if b"broken" in redis_server.ask(f'HGET "{name}" record'):
            redis_server.ask(f'HSET "{name}" record nonsense')
    assert [each.key async for each in store.unfinished()] == ["whole"]
    assert "damaged" in caplog.text
    with pytest.raises(StoreError, match="damaged"):
        await store.get("broken")


def test_a_new_record_is_in_doubt_until_something_is_known() -> None:
    assert record().snapshot is INITIAL_SNAPSHOT
