"""The stores of the crash tests, and how their servers fail: a mode is a store and its faults.

    mode              what the server loses when it fails          workers are killed and stopped
    sqlite            there is no server                           at any moment
    redis             does not fail                                at any moment
    redis always      nothing (AOF, appendfsync always)            at any moment
    redis everysec    up to one second of its AOF                  not while the server forgets
    redis rdb         what is newer than its last RDB file         not while the server forgets
    redis failover    what its lagging replica did not receive     not while the server forgets
    redis empty       everything                                   never

What a worker and the server lose together no store can know. So in the modes `everysec`, `rdb` and `failover` no worker
ends from MEMORY seconds before a failure of the server until living workers have had time to write their records back,
and in `empty`, where everything is forgotten, none ends at all. The modes `… and workers` do not spare them: they show
what this costs, and nothing is promised for them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field, frozen

from tests.support.http_server import free_port
from tests.support.redis_server import RedisServer
from tests.support.tcp_forwarder import TcpForwarder
from tests.support.waiting import wait_until

LEASE = 0.5
"""Seconds after which a replica on Redis counts as dead; workers are stopped for longer."""
LONG_LEASE = 2.0
"""The same for a server that forgets: in this time living workers must write their records back."""
MEMORY = 1.2
"""Seconds, a little more than a server forgets of its latest writes."""
_COPY_INTERVAL = 0.2


class StoreFaults(Protocol):
    """A store of one mode."""

    def description(self, number: int) -> dict[str, Any]:
        """What `worker.open_store` needs for the store of a round."""
        ...

    async def disturb(self, rng: random.Random) -> None:
        """Let the server of the store fail in the way of its mode, and wait until it works again."""
        ...


@frozen
class SQLiteFiles:
    """One database per round; there is no server."""

    folder: Path

    def description(self, number: int) -> dict[str, Any]:
        return {"path": str(self.folder / f"jobs-{number}.db")}

    async def disturb(self, rng: random.Random) -> None:
        pass


def _redis_description(url: str, number: int, lease: float = LONG_LEASE) -> dict[str, Any]:
    return {"url": url, "prefix": f"round-{number}", "lease": lease}


@frozen
class RestartedRedis:
    """A Redis that is killed and started again with what is on its disk, which may be nothing."""

    server: RedisServer
    lease: float = LONG_LEASE

    def description(self, number: int) -> dict[str, Any]:
        return _redis_description(self.server.url, number, self.lease)

    async def disturb(self, rng: random.Random) -> None:
        self.server.kill()
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        await asyncio.to_thread(self.server.restart)


@define
class RolledBackRedis:
    """A Redis that comes back with the files of an earlier moment, of the last second."""

    server: RedisServer
    copies: deque[tuple[float, Path]] = field(factory=deque)

    def description(self, number: int) -> dict[str, Any]:
        return _redis_description(self.server.url, number)

    async def disturb(self, rng: random.Random) -> None:
        now = time.monotonic()
        copies = [copy for at, copy in self.copies if now - at <= 1.0]
        await asyncio.to_thread(self.server.restart, rng.choice(copies) if copies else None)

    async def keep_copies(self) -> None:
        """Copy the server's files from time to time, and remember which are of the last seconds."""
        while True:
            await asyncio.sleep(_COPY_INTERVAL)
            # a file that is being replaced: the next copy will do
            with suppress(OSError):
                self.copies.append((time.monotonic(), await asyncio.to_thread(self.server.copy_files)))


@define
class FailingOverRedis:
    """A primary that is killed, and a replica that lags behind it by up to a second and takes its place."""

    primary: RedisServer
    replica: RedisServer
    ports: dict[RedisServer, int]
    clients: TcpForwarder
    link: TcpForwarder

    def description(self, number: int) -> dict[str, Any]:
        return _redis_description(f"redis://127.0.0.1:{self.clients.port}", number)

    async def disturb(self, rng: random.Random) -> None:
        self.link.target = free_port()
        await self.link.cut()
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        self.primary.kill()
        self.replica.execute("REPLICAOF NO ONE")
        self.primary, self.replica = self.replica, self.primary
        self.clients.target = self.link.target = self.ports[self.primary]
        await self.clients.cut()
        await asyncio.to_thread(self.replica.start)
        await self.replicate()

    async def replicate(self) -> None:
        """Let the replica follow the primary, and wait until it has all its data."""
        self.replica.execute(f"REPLICAOF 127.0.0.1 {self.link.port}")
        await wait_until(lambda: self.replica.info("master_link_status") == "up")


@frozen
class Mode:
    """A store and its faults, which are `per_round` failures of its server.

    `forgets`: what a worker wrote may be lost; `spares_workers`: then no worker ends at the same time; `worker_faults`:
    whether workers are killed and stopped at all.
    """

    name: str
    open: Callable[[Path], AbstractAsyncContextManager[StoreFaults]]
    per_round: int = 0
    forgets: bool = False
    spares_workers: bool = False
    worker_faults: bool = True
    promised: bool = True

    @property
    def jobs_per_flow(self) -> int:
        """More jobs where a round takes long because the server fails in it."""
        return 3 if self.forgets else 1

    @property
    def processing(self) -> float:
        """Seconds that a job takes: where the server forgets, long enough for jobs to be running then."""
        return 0.5 if self.forgets else 0.02


@asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[StoreFaults]:
    yield SQLiteFiles(folder)


@asynccontextmanager
async def _persistent(_: Path) -> AsyncIterator[StoreFaults]:
    with RedisServer(persistent=True) as server:
        yield RestartedRedis(server, LEASE)


@asynccontextmanager
async def _volatile(_: Path) -> AsyncIterator[StoreFaults]:
    with RedisServer() as server:
        yield RestartedRedis(server)


@asynccontextmanager
async def _rolled_back(_: Path) -> AsyncIterator[StoreFaults]:
    with RedisServer(persistent=True) as server:
        store = RolledBackRedis(server)
        copying = asyncio.create_task(store.keep_copies())
        try:
            yield store
        finally:
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)


@asynccontextmanager
async def _saved(_: Path) -> AsyncIterator[StoreFaults]:
    with RedisServer() as server:
        saving = asyncio.create_task(_save(server))
        try:
            yield RestartedRedis(server)
        finally:
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)


async def _save(server: RedisServer) -> None:
    while True:
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.execute, "BGSAVE")


@asynccontextmanager
async def _failing_over(_: Path) -> AsyncIterator[StoreFaults]:
    ports = free_port(), free_port()
    options = ("--repl-diskless-sync-delay", "0")
    with (
        RedisServer("--port", str(ports[0]), *options) as primary,
        RedisServer("--port", str(ports[1]), *options) as replica,
    ):
        async with TcpForwarder(ports[0]) as clients, TcpForwarder(ports[0]) as link:
            pair = FailingOverRedis(primary, replica, dict(zip((primary, replica), ports, strict=True)), clients, link)
            await pair.replicate()
            yield pair


MODES = {
    mode.name: mode
    for mode in (
        Mode("sqlite", _sqlite),
        Mode("redis", _persistent),
        Mode("redis always", _persistent, per_round=3),
        Mode("redis everysec", _rolled_back, per_round=1, forgets=True, spares_workers=True),
        Mode("redis rdb", _saved, per_round=1, forgets=True, spares_workers=True),
        Mode("redis failover", _failing_over, per_round=1, forgets=True, spares_workers=True),
        Mode("redis empty", _volatile, per_round=1, forgets=True, spares_workers=True, worker_faults=False),
        Mode("redis everysec and workers", _rolled_back, per_round=1, forgets=True, promised=False),
        Mode("redis rdb and workers", _saved, per_round=1, forgets=True, promised=False),
        Mode("redis failover and workers", _failing_over, per_round=1, forgets=True, promised=False),
        Mode("redis empty and workers", _volatile, per_round=1, forgets=True, promised=False),
    )
}
