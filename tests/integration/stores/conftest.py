"""Every store there is, behind one fixture; records to put into them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.jobs import INITIAL_SNAPSHOT, Output, Record, Snapshot, Status
from aiowatermark.media.base import Media
from tests.support.redis_server import shared_server, stop_shared_server

Make: TypeAlias = Callable[[], aw.JobStore]
"""Gives a store that is not open yet; all that one factory gives have the same memory."""


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Make]:
    store = aw.MemoryStore()
    yield lambda: store


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Make]:
    yield lambda: aw.SQLiteStore(folder / "jobs.db")


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[Make]:
    prefix = hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()
    yield lambda: aw.RedisStore(shared_server().url, prefix=prefix)


# a further store: its name, and what gives `Make` for a test's folder and clears up behind it
STORES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Make]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "redis": redis,
}


@pytest.fixture(scope="session", autouse=True)
def no_server_is_left() -> Iterator[None]:
    """The Redis that some tests share ends with the last test."""
    yield
    stop_shared_server()


@pytest.fixture(params=list(STORES))
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes stores of each kind in turn, all with one memory."""
    async with STORES[request.param](tmp_path) as made:
        yield made


@pytest.fixture
async def store(make: Make) -> AsyncIterator[aw.JobStore]:
    """An open store of each kind in turn."""
    async with make() as opened:
        yield opened


def record(key: str = "order-1", **fields: Any) -> Record:
    """A record as a client opens it."""
    known: dict[str, Any] = {
        "snapshot": INITIAL_SNAPSHOT,
        "fingerprint": "f" * 32,
        "inputs": ("photo.jpg:7",),
        "created_at": 1.5,
    }
    return Record(key, "picwish", **(known | fields))


def queued(before: Record, task_id: str = "task-1") -> Record:
    """The record once the provider has the job."""
    return before.advance(Snapshot(task_id, Status.QUEUED))


def finished(before: Record, *media: Media, **fields: Any) -> Record:
    """The record of a job that is done."""
    outputs = tuple(Output(each) for each in media or (aw.as_media("https://results.example/a.jpg?signed=1"),))
    return before.advance(evolve(Snapshot("task-1", Status.SUCCEEDED, 1.0, outputs), **fields))


async def read(media: Media | None) -> bytes:
    """The bytes of an output."""
    assert media is not None
    return b"".join([block async for block in media.blocks()])


def kept(path: Path) -> list[Path]:
    """The files of results."""
    folder = Path(f"{path}-outputs")
    return sorted(folder.iterdir()) if folder.exists() else []


async def refused(store: aw.SQLiteStore, match: str) -> None:
    with pytest.raises(aw.StoreError, match=match):
        await store.__aenter__()
