"""The stores of the crash tests, and how their servers are disturbed: a mode is a store and its faults."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from tests.support.redis_server import RedisServer

LEASE = 0.5
"""Seconds after which a replica on Redis counts as dead; workers are stopped for longer."""


class StoreFaults(Protocol):
    """A store of one mode."""

    def description(self, number: int) -> dict[str, Any]:
        """What `worker.open_store` needs for the store of a round."""
        ...

    async def disturb(self, rng: random.Random) -> None:
        """Let the server of the store fail in the way of its mode."""
        ...


@frozen
class SQLiteFiles:
    """One database per round; there is no server."""

    folder: Path

    def description(self, number: int) -> dict[str, Any]:
        return {"path": str(self.folder / f"jobs-{number}.db")}

    async def disturb(self, rng: random.Random) -> None:
        pass


@frozen
class RestartedRedis:
    """A Redis that is killed and started again with what is on its disk."""

    server: RedisServer

    def description(self, number: int) -> dict[str, Any]:
        return {"url": self.server.url, "prefix": f"round-{number}", "lease": LEASE}

    async def disturb(self, rng: random.Random) -> None:
        self.server.kill()
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        await asyncio.to_thread(self.server.start)


@frozen
class Mode:
    """A store and its faults; `worker_faults`: whether workers are killed and stopped."""

    name: str
    open: Callable[[Path], AbstractAsyncContextManager[StoreFaults]]
    faults_per_round: int = 0
    worker_faults: bool = True
    promised: bool = True


@asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[StoreFaults]:
    yield SQLiteFiles(folder)


@asynccontextmanager
async def _redis(_: Path) -> AsyncIterator[StoreFaults]:
    with RedisServer(persistent=True) as server:
        yield RestartedRedis(server)


MODES = {
    mode.name: mode
    for mode in (
        Mode("sqlite", _sqlite),
        Mode("redis", _redis),
        Mode("redis restarted", _redis, faults_per_round=3),
    )
}
