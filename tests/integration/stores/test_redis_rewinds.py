"""A Redis that has forgotten writes: living replicas write their records back before anything new is opened."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from attrs import evolve, frozen
from redis import Redis

from aiowatermark import Delivery, RedisStore, StoreError
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.stores.redis.keys import digest
from tests.support.http_server import free_port
from tests.support.records import ACCOUNT, accept, finish, make_record
from tests.support.redis_server import RedisServer, SentinelServer
from tests.support.stores import get_record, list_keys, use_slot
from tests.support.tcp_forwarder import TcpForwarder
from tests.support.waiting import wait_until

# Long enough for a living replica to write its records back on a busy machine: it tries again at most once a second.
LEASE = 1.5
CALLBACK = "c" * 32
RUNNING = make_record("running", callback=CALLBACK)


# what loses writes


@frozen
class RewindCase:
    """A store's URL, and `rewind`, which makes the server forget what was written since the call of `keep`."""

    url: str
    keep: Callable[[], Awaitable[None]]
    rewind: Callable[[], Awaitable[None]]


@asynccontextmanager
async def restarted(*, persistent: bool, save: bool) -> AsyncIterator[RewindCase]:
    """A server that is restarted, with an older append-only file, with its RDB file, or with nothing."""
    with RedisServer(persistent=persistent) as server:
        server.skip_quiet_time()
        copies = []

        async def keep() -> None:
            if save:
                server.execute("SAVE")
            copies.append(server.copy_files())

        async def rewind() -> None:
            # blocks the event loop, so that no replica can write back before another one has opened its store
            server.restart(copies[-1])

        yield RewindCase(server.url, keep, rewind)


@frozen
class Pair:
    """A primary and its replica; clients reach the one that is `clients.target`, the replica its primary by `link`."""

    primary: RedisServer
    replica: RedisServer
    replica_port: int
    clients: TcpForwarder
    link: TcpForwarder

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.clients.port}"

    async def cut_link(self) -> None:
        """Let the replica receive nothing any more."""
        self.link.target = free_port()
        await self.link.cut()
        await wait_until(lambda: self.replica.info("master_link_status") == "down")

    def promote(self) -> None:
        """Make the replica a primary, and let new connections of clients lead to it."""
        self.replica.execute("REPLICAOF NO ONE")
        self.clients.target = self.replica_port

    async def fail_over(self) -> None:
        self.primary.kill()
        self.promote()
        await self.clients.cut()


@asynccontextmanager
async def replicated() -> AsyncIterator[Pair]:
    """A primary and a replica that has received everything."""
    ports = free_port(), free_port()
    options = ("--repl-diskless-sync-delay", "0")
    with (
        RedisServer("--port", str(ports[0]), *options) as primary,
        RedisServer("--port", str(ports[1]), *options) as replica,
    ):
        primary.skip_quiet_time()
        async with TcpForwarder(ports[0]) as clients, TcpForwarder(ports[0]) as link:
            replica.execute(f"REPLICAOF 127.0.0.1 {link.port}")
            await wait_until(lambda: replica.info("master_link_status") == "up")
            yield Pair(primary, replica, ports[1], clients, link)


@asynccontextmanager
async def failed_over() -> AsyncIterator[RewindCase]:
    async with replicated() as pair:
        yield RewindCase(pair.url, pair.cut_link, pair.fail_over)


CASES = {
    "append-only file": lambda: restarted(persistent=True, save=False),
    "RDB file": lambda: restarted(persistent=False, save=True),
    "nothing": lambda: restarted(persistent=False, save=False),
    "lagging replica": failed_over,
}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] if number else []) for number, name in enumerate(CASES)]
)
async def case(request: pytest.FixtureRequest) -> AsyncIterator[RewindCase]:
    """A server that forgets, in each way in turn."""
    async with CASES[request.param]() as made:
        yield made


async def open_when_available(store: RedisStore, record: Record) -> Record | None:
    """Open a key; again and again as long as Redis is unavailable."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.open(record)
            except StoreError:
                await asyncio.sleep(0.02)


async def wait_for_rewind(store: RedisStore, epoch: int) -> None:
    await wait_until(lambda: store._connection.epoch > epoch and not store._connection.disconnected)


# every kind of rewind


async def test_a_forgotten_key_of_a_running_job_is_opened_once(case: RewindCase) -> None:
    async with RedisStore(case.url, lease=LEASE) as owner:
        await owner.open(make_record("earlier"))
        await case.keep()
        await owner.open(RUNNING)
        await owner.put(accept(RUNNING))
        await case.rewind()
        async with RedisStore(case.url, lease=LEASE) as late:
            found = await asyncio.gather(*(open_when_available(store, RUNNING) for store in (late, owner)))
            assert [each.snapshot.task_id for each in found if each] == ["task-1", "task-1"]
            assert await late.by_callback(CALLBACK) == await late.get("running")
            assert sorted(await list_keys(late.unfinished())) == ["earlier", "running"]
            assert not await late.coordinator.claim(await get_record(late, "running"))


async def test_a_forgotten_key_of_a_job_that_has_just_ended_is_opened_once(case: RewindCase) -> None:
    in_doubt, taken = make_record("in doubt"), make_record("taken")
    async with RedisStore(case.url, lease=LEASE) as owner:
        await case.keep()
        for record in (RUNNING, in_doubt, taken):
            await owner.open(record)
        await get_stored(owner, finish(accept(RUNNING)))
        await owner.acknowledge([await get_stored(owner, finish(accept(taken, "task-3")))])
        in_doubt = in_doubt.advance(Snapshot(None, Status.IN_DOUBT, reason="no answer"))
        await owner.put(in_doubt)
        await owner.coordinator.release(in_doubt)
        await case.rewind()
        async with RedisStore(case.url, lease=LEASE) as late:
            found = [await open_when_available(late, record) for record in (RUNNING, taken, make_record("in doubt"))]
            statuses = [Status.SUCCEEDED, Status.SUCCEEDED, Status.IN_DOUBT]
            assert [each.snapshot.status for each in found if each] == statuses
            assert await list_keys(late.unfinished()) == ["in doubt"]
            assert await list_keys(late.unacknowledged()) == ["running"]


async def test_two_new_replicas_on_a_server_that_has_forgotten_open_a_key_once(case: RewindCase) -> None:
    async with RedisStore(case.url, lease=0.2):
        await case.keep()
    await case.rewind()
    async with RedisStore(case.url, lease=0.2) as first, RedisStore(case.url, lease=0.2) as second:
        found = await asyncio.gather(*(open_when_available(store, RUNNING) for store in (first, second)))
        assert sorted(found, key=bool) == [None, RUNNING]


# what is sent after a rewind, and in which order


async def test_nothing_is_sent_before_the_records_are_written_back() -> None:
    with RedisServer("--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000") as server:
        server.skip_quiet_time()
        async with RedisStore(server.url, lease=0.3) as store:
            records = [make_record(f"job-{number}") for number in range(120)]
            for record in records:
                await store.open(record)
            epoch = store._connection.epoch
            server.restart()
            calls = [asyncio.create_task(store.get("unknown")) for _ in range(5)]
            calls += [asyncio.create_task(store.coordinator.pause(ACCOUNT, 0.001))]
            await asyncio.gather(*calls, return_exceptions=True)
            await wait_for_rewind(store, epoch)
        commands = list_commands(server)
    updates = [number for number, words in enumerate(commands) if any('"v"' in word for word in words)]
    others = [number for number, words in enumerate(commands) if words[0] == "PUBLISH" or words[-1] == "record"]
    assert len(updates) >= 120
    assert updates[119] < min(others)


def list_commands(server: RedisServer) -> list[list[str]]:
    """The commands that the server has run, oldest first."""
    with Redis(unix_socket_path=str(server.socket)) as client:
        entries = client.slowlog_get(100_000)
    assert isinstance(entries, list)
    return [entry["command"].decode(errors="replace").split(" ") for entry in reversed(entries)]


async def test_a_record_that_is_newer_on_the_server_is_kept() -> None:
    with RedisServer(persistent=True) as server:
        server.skip_quiet_time()
        async with RedisStore(server.url, lease=0.3) as owner, RedisStore(server.url, lease=0.3) as other:
            for key in ("done", "newer"):
                await owner.open(make_record(key))
            await other.put(finish(accept(make_record("done"))))
            await other.put(accept(make_record("newer"), "task-2"))
            epoch = owner._connection.epoch
            server.restart()
            await wait_for_rewind(owner, epoch)
            assert (await get_record(owner, "done")).snapshot.status is Status.SUCCEEDED
            assert (await get_record(owner, "newer")).snapshot.task_id == "task-2"


async def test_a_record_from_before_the_payment_is_written_back_before_its_next_version(
    volatile_server: RedisServer,
) -> None:
    async with RedisStore(volatile_server.url, lease=0.3) as store:
        record = make_record(snapshot=Snapshot(None, Status.UPLOADING), video=True)
        await store.open(record)
        volatile_server.restart()
        paying = record.advance(Snapshot("task-1", Status.IN_DOUBT))
        assert paying.before_payment
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await store.put(paying) is paying
                    break
                except StoreError:
                    await asyncio.sleep(0.02)
        assert await list_keys(store.unfinished()) == ["job-1"]
        assert await store.get("job-1") == paying


async def test_a_second_attempt_is_written_back_though_the_versions_before_it_are_forgotten() -> None:
    with RedisServer(persistent=True) as server:
        server.skip_quiet_time()
        async with RedisStore(server.url, lease=0.3) as store:
            await store.open(RUNNING)
            copy = server.copy_files()
            failed = await get_stored(store, finish(accept(RUNNING), status=Status.FAILED))
            again = evolve(RUNNING, epoch=1, version=failed.version + 1, created_at=2.5)
            again = await get_stored(store, again)
            again = await get_stored(store, accept(again, "task-2"))
            epoch = store._connection.epoch
            server.restart(copy)
            await wait_for_rewind(store, epoch)
            assert await store.get("running") == again
            assert await list_keys(store.unfinished()) == ["running"]
            assert server.execute("KEYS *:task:*").startswith(b"*1")


async def get_stored(store: RedisStore, record: Record) -> Record:
    """Write a record, which must be accepted."""
    assert await store.put(record) is record
    return record


async def test_a_forgotten_record_that_was_deleted_here_is_not_written_back(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=0.3) as store:
        await store.open(RUNNING)
        ended = finish(accept(RUNNING))
        await store.put(ended)
        await store.forget(ended)
        await store.coordinator.release(make_record("never opened"))
        epoch = store._connection.epoch
        volatile_server.restart()
        await wait_for_rewind(store, epoch)
        assert await store.get("running") is None
        assert await store.get("never opened") is None


async def test_a_call_that_notices_a_rewind_is_held_until_the_records_are_written_back(
    persistent_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="aiowatermark")
    # a lease so long that only the call can notice it
    async with RedisStore(persistent_server.url, lease=60.0) as store:
        await store.open(RUNNING)
        persistent_server.restart()
        assert await store.get("running") == RUNNING
        assert await store.put(accept(RUNNING)) is not RUNNING
    assert [each.levelname for each in caplog.records if "available" in each.getMessage()] == ["WARNING", "INFO"]
    assert "it was restarted, or another server has taken its place" in caplog.text


# quiet time


async def test_after_a_rewind_open_waits_for_one_lease_and_other_calls_do_not(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=LEASE) as store:
        await store.open(RUNNING)
        await wait_until(lambda: store._membership.backlog.empty)
        epoch = store._connection.epoch
        before = time.monotonic()
        volatile_server.restart()
        await wait_for_rewind(store, epoch)
        opening = asyncio.create_task(store.open(make_record("new")))
        await store.put(accept(RUNNING))
        assert (await get_record(store, "running")).snapshot.task_id == "task-1"
        await store.coordinator.acquire(ACCOUNT, 1000.0, is_submission=True)
        await use_slot(store, 1)
        await store.coordinator.forward(CALLBACK, Delivery(b""))
        assert store._membership.quiet.seconds_left > 0
        assert not opening.done()
        assert await opening is None
        assert time.monotonic() - before >= LEASE


async def test_an_open_that_waits_can_be_cancelled_and_has_written_nothing(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=60.0) as store:
        volatile_server.restart()
        opening = asyncio.create_task(store.open(RUNNING))
        await wait_until(lambda: store._membership.quiet.seconds_left)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert await list_keys(store.unfinished()) == []
        # nothing is left that would keep others from opening
        await asyncio.wait_for(store.put(accept(RUNNING)), 30)


@pytest.mark.parametrize(
    ("known", "quiet"),
    [("this server", False), ("another server", True), ("no server, but accounts", True)],
)
async def test_a_new_replica_is_quiet_if_the_data_were_last_used_on_another_server(
    volatile_server: RedisServer,
    known: str,
    quiet: bool,
) -> None:
    if known == "another server":
        volatile_server.execute('SET "{aiowatermark}:server" 0123456789')
    if known == "no server, but accounts":
        volatile_server.execute('DEL "{aiowatermark}:server"')
        volatile_server.execute('SADD "{aiowatermark}:accounts" x')
    async with RedisStore(volatile_server.url, lease=60.0) as first, RedisStore(volatile_server.url) as second:
        # the second one obeys what the first one has begun, though its own lease is shorter
        for store in (first, second):
            assert (store._membership.quiet.seconds_left > 30) is quiet


async def test_a_server_without_data_is_quiet_until_it_is_one_lease_old() -> None:
    with RedisServer() as server:
        before = time.monotonic()
        async with RedisStore(server.url, lease=0.5) as store:
            assert 0 < store._membership.quiet.seconds_left <= 0.5
            await store.open(RUNNING)
            assert time.monotonic() - before >= 0.45
        await wait_until(lambda: int(server.info("uptime_in_seconds")) >= 2)
        async with RedisStore(server.url, prefix="other", lease=0.5) as store:
            assert store._membership.quiet.seconds_left == 0


async def test_in_the_quiet_time_no_second_attempt_of_a_key_is_begun(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=0.5) as store:
        await store.open(RUNNING)
        failed = await get_stored(store, finish(accept(RUNNING), status=Status.FAILED))
    volatile_server.execute('SET "{aiowatermark}:server" 0123456789')
    before = time.monotonic()
    async with RedisStore(volatile_server.url, lease=0.5) as store:
        await get_stored(store, evolve(RUNNING, epoch=1, version=failed.version + 1))
        assert time.monotonic() - before >= 0.5


async def test_in_the_quiet_time_no_job_of_another_replica_is_claimed_or_adopted(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url) as leaving:
        await leaving.open(make_record("orphan"))
    volatile_server.execute('SET "{aiowatermark}:server" 0123456789')
    async with RedisStore(volatile_server.url, lease=0.5) as store:
        assert not await store.coordinator.claim(make_record("orphan"))
        assert await list_keys(store.coordinator.orphans(ACCOUNT)) == []
        await store._membership.quiet.wait()
        assert await list_keys(store.coordinator.orphans(ACCOUNT)) == ["orphan"]


# other ways to notice


async def test_deleted_data_are_noticed_on_connections_that_stay(volatile_server: RedisServer) -> None:
    async with RedisStore(volatile_server.url, lease=0.3) as store:
        await store.open(RUNNING)
        epoch = store._connection.epoch
        volatile_server.execute("FLUSHALL")
        await wait_for_rewind(store, epoch)
        assert await store.get("running") == RUNNING


async def test_one_new_connection_to_another_server_replaces_all_others() -> None:
    async with replicated() as pair, RedisStore(pair.url, lease=60.0) as store:
        await asyncio.gather(*(store.open(make_record(f"job-{number}")) for number in range(20)))
        store.coordinator.subscribe(lambda *_: None)
        await asyncio.gather(*(store.get("job-1") for _ in range(500)))
        await wait_until(lambda: pair.clients.connections >= 2)
        await pair.cut_link()
        await store.put(accept(make_record("job-1")))
        pair.promote()
        await pair.clients.cut(1)
        # the old primary still answers on the other connections
        async with asyncio.timeout(30):
            while stored_version(pair.replica, store, "job-1") != b"1":
                # enough to use every connection
                await asyncio.gather(*(store.get("job-1") for _ in range(1000)))
        assert await store.put(accept(make_record("job-2"))) is not None
        assert stored_version(pair.replica, store, "job-2") == b"1"
        assert stored_version(pair.primary, store, "job-2") == b"0"


def stored_version(server: RedisServer, store: RedisStore, key: str) -> bytes | None:
    """The version of a record on one of the servers; None if it has no such record."""
    reply = server.execute(f'HGET "{store._keys.job(digest(key)).record}" version')
    return None if reply == b"$-1\r\n" else reply.split()[1]


async def test_a_demoted_primary_is_left_for_the_new_one_though_its_connections_stay() -> None:
    async with replicated() as pair, RedisStore(pair.url, lease=0.3) as store:
        await store.open(RUNNING)
        await pair.cut_link()
        epoch = store._connection.epoch
        pair.promote()
        pair.primary.execute(f"REPLICAOF 127.0.0.1 {pair.replica_port}")
        await wait_for_rewind(store, epoch)
        assert stored_version(pair.replica, store, "running") == b"0"
        assert await store.open(make_record("new")) is None


async def test_a_replica_is_no_server_for_a_store() -> None:
    async with replicated() as pair:
        with pytest.raises(StoreError, match="it is a replica of another server"):
            await RedisStore(f"redis://127.0.0.1:{pair.replica_port}").__aenter__()


# Sentinel


@pytest.mark.slow
async def test_a_store_follows_a_failover_by_sentinel_and_opens_a_forgotten_key_once() -> None:
    async with replicated() as pair:
        with SentinelServer("main", pair.clients.target) as sentinel:
            url = f"sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main/0?socket_connect_timeout=1"
            await wait_until(lambda: sentinel.replicas("main") == [pair.replica_port])
            async with RedisStore(url, lease=LEASE) as owner:
                await owner.open(make_record("earlier"))
                await wait_until(lambda: pair.replica.execute("DBSIZE") == pair.primary.execute("DBSIZE"))
                await pair.cut_link()
                await owner.open(RUNNING)
                await owner.put(accept(RUNNING))
                pair.primary.kill()
                await wait_until(lambda: pair.replica.info("role") == "master")
                async with AsyncExitStack() as stack:
                    late = await enter_when_available(stack, RedisStore(url, lease=LEASE))
                    found = await asyncio.gather(*(open_when_available(store, RUNNING) for store in (late, owner)))
                    assert [each.snapshot.task_id for each in found if each] == ["task-1", "task-1"]
                    assert sorted(await list_keys(late.unfinished())) == ["earlier", "running"]


async def enter_when_available(stack: AsyncExitStack, store: RedisStore) -> RedisStore:
    async with asyncio.timeout(30):
        while True:
            try:
                return await stack.enter_async_context(store)
            except StoreError:
                await asyncio.sleep(0.02)


async def test_sentinels_that_do_not_answer_are_a_store_error_without_the_password() -> None:
    with pytest.raises(StoreError, match=r"sentinel://127\.0\.0\.1:1/main is unavailable") as refused:
        await RedisStore("sentinel://:canary@127.0.0.1:1/main?sentinel_password=canary").__aenter__()
    assert "canary" not in str(refused.value)


# settings of the server


async def test_a_server_that_deletes_keys_is_one_warning_at_opening(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        # managed servers refuse it
        server.execute("ACL SETUSER default -config")
        async with RedisStore(server.url, lease=0.3) as store:
            assert (await store.server_settings()).fsync is None
            await store.open(RUNNING)
    assert [each.levelname for each in caplog.records if "maxmemory-policy allkeys-lru" in each.getMessage()] == [
        "WARNING"
    ]


async def test_the_settings_of_a_server_are_read(persistent_server: RedisServer) -> None:
    async with RedisStore(persistent_server.url, lease=0.3) as store:
        settings = await store.server_settings()
    assert (settings.append_only, settings.fsync, settings.save, settings.replicas) == (True, "always", "", 0)
    assert not settings.evicts


async def test_a_user_without_info_is_told_why_it_is_needed() -> None:
    with RedisServer() as server:
        server.execute("ACL SETUSER default -info")
        with pytest.raises(StoreError, match=r"does not answer INFO.*the user needs \+info"):
            await RedisStore(server.url).__aenter__()
