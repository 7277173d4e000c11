"""Records and fixtures for the tests of RedisStore."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from aiowatermark import RedisStore
from aiowatermark.jobs import Output, Record, Snapshot, Status
from aiowatermark.media.memory import Link
from tests.support.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]

OpenStore = Callable[..., Any]
ACCOUNT = "kaze-1"


def make_record(key: str = "job-1", **fields: Any) -> Record:
    """A new record of the account that all these tests use."""
    return Record(key, "kaze", account=ACCOUNT, created_at=time.time(), **fields)


def accept(record: Record) -> Record:
    """The record once the provider has accepted the job."""
    return record.advance(Snapshot("task-1", Status.QUEUED))


def finish(record: Record, *outputs: Output) -> Record:
    """The record of the finished job, with one link as its output unless others are given."""
    outputs = outputs or (Output(Link("https://x.example/a")),)
    return record.advance(Snapshot("task-1", Status.SUCCEEDED, outputs=outputs))


@pytest.fixture
async def open_store(redis_server: RedisServer) -> AsyncIterator[OpenStore]:
    """Opens stores with one prefix, each as another replica, and closes them after the test."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:

        async def open_one(server: RedisServer | None = None, **options: Any) -> RedisStore:
            url = (server or redis_server).url
            return await stack.enter_async_context(RedisStore(url, prefix=prefix, **options))

        yield open_one


async def wait_until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until `condition()` is true; raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - no event is set for these conditions
            await asyncio.sleep(0.01)


@asynccontextmanager
async def private_redis(*options: str) -> AsyncIterator[RedisServer]:
    """A Redis with these command-line options, for one test."""
    with RedisServer(*options) as server:
        yield server
