"""What the tests of RedisStore have in common."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from aiowatermark import RedisStore
from aiowatermark.jobs import Output, Record, Snapshot, Status
from aiowatermark.media.memory import Link
from tests.support.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]

Opened = Callable[..., Any]
ACCOUNT = "kaze-1"


def record(key: str = "job-1", **more: Any) -> Record:
    return Record(key, "kaze", account=ACCOUNT, created_at=time.time(), **more)


def accepted(of: Record) -> Record:
    return of.advance(Snapshot("task-1", Status.QUEUED))


def finished(of: Record, *outputs: Output) -> Record:
    return of.advance(Snapshot("task-1", Status.SUCCEEDED, outputs=outputs or (Output(Link("https://x.example/a")),)))


@pytest.fixture
async def opened(redis_server: RedisServer) -> AsyncIterator[Opened]:
    """Opens stores on one prefix, each as a replica of its own would."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:

        async def one(server: RedisServer | None = None, **options: Any) -> RedisStore:
            url = (server or redis_server).url
            return await stack.enter_async_context(RedisStore(url, prefix=prefix, **options))

        yield one


async def until(true: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until something has come true."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - nobody could set an event
            await asyncio.sleep(0.01)


def own(*options: str, persistent: bool = False) -> Any:
    """A server for one test, in an `async with`."""

    class _Own:
        async def __aenter__(self) -> RedisServer:
            self.server = RedisServer(*options, persistent=persistent)
            return self.server.__enter__()

        async def __aexit__(self, *exc: object) -> None:
            self.server.__exit__(None, None, None)

    return _Own()
