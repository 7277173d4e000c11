"""Fixtures for tests of stores: a real Redis, and stores of each kind in turn."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import aiowatermark as aw
from tests.support.redis_server import RedisServer
from tests.support.stores import MakeStore, OpenStore


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis that all tests share; each test uses another prefix."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def volatile_server() -> Iterator[RedisServer]:
    """A Redis for one test that loses everything when it is killed."""
    with RedisServer() as server:
        server.skip_quiet_time()
        yield server


@pytest.fixture
def persistent_server() -> Iterator[RedisServer]:
    """A Redis for one test with an append-only file."""
    with RedisServer(persistent=True) as server:
        server.skip_quiet_time()
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a SQLite store can be created."""
    return tmp_path / "jobs.db"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_store(request: pytest.FixtureRequest, path: Path) -> MakeStore:
    """Makes stores of each kind in turn; those of one test hold the same records."""
    if request.param == "redis":
        # asked for here, because the other kinds need no Redis
        server: RedisServer = request.getfixturevalue("redis_server")
        prefix = uuid.uuid4().hex
        server.skip_quiet_time(prefix)
        return lambda: aw.RedisStore(server.url, prefix=prefix)
    if request.param == "sqlite":
        return lambda: aw.SQLiteStore(path)
    store = aw.MemoryStore()
    return lambda: store


@pytest.fixture
async def store(make_store: MakeStore) -> AsyncIterator[aw.JobStore]:
    """An open store of each kind in turn."""
    async with make_store() as opened:
        yield opened


@pytest.fixture
async def open_store(redis_server: RedisServer) -> AsyncIterator[OpenStore]:
    """Opens stores with one prefix, each as another replica, and closes them after the test."""
    prefix = uuid.uuid4().hex
    async with AsyncExitStack() as stack:

        async def open_one(
            server: RedisServer | None = None, *, keep: float = 30 * 86_400.0, lease: float = 5.0
        ) -> aw.RedisStore:
            used = server or redis_server
            await asyncio.to_thread(used.skip_quiet_time, prefix)
            return await stack.enter_async_context(aw.RedisStore(used.url, prefix=prefix, keep=keep, lease=lease))

        yield open_one
