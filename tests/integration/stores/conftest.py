"""A fixture that opens each kind of store in turn, and records to put into them."""

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

MakeStore: TypeAlias = Callable[[], aw.JobStore]
"""Returns a store that is not open yet; all stores of one factory hold the same records."""


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[MakeStore]:
    store = aw.MemoryStore()
    yield lambda: store


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[MakeStore]:
    yield lambda: aw.SQLiteStore(folder / "jobs.db")


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[MakeStore]:
    prefix = hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()
    yield lambda: aw.RedisStore(shared_server().url, prefix=prefix)


# to test another store, add its name and a context manager that yields a factory for a test's folder
STORES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[MakeStore]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "redis": redis,
}


@pytest.fixture(scope="session", autouse=True)
def stop_redis_after_the_tests() -> Iterator[None]:
    """The shared Redis ends with the last test."""
    yield
    stop_shared_server()


@pytest.fixture(params=list(STORES))
async def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeStore]:
    """A factory of each kind in turn; its stores hold the same records."""
    async with STORES[request.param](tmp_path) as factory:
        yield factory


@pytest.fixture
async def store(make_store: MakeStore) -> AsyncIterator[aw.JobStore]:
    """An open store of each kind in turn."""
    async with make_store() as opened:
        yield opened


def make_record(key: str = "order-1", **fields: Any) -> Record:
    """A new record, as a client creates it."""
    defaults: dict[str, Any] = {
        "snapshot": INITIAL_SNAPSHOT,
        "fingerprint": "f" * 32,
        "inputs": ("photo.jpg:7",),
        "created_at": 1.5,
    }
    return Record(key, "picwish", **(defaults | fields))


def accept(record: Record, task_id: str = "task-1") -> Record:
    """The record once the provider has accepted the job."""
    return record.advance(Snapshot(task_id, Status.QUEUED))


def finish(record: Record, *media: Media, **fields: Any) -> Record:
    """The record of the finished job, with one link as its output unless other media are given."""
    outputs = tuple(Output(each) for each in media or (aw.as_media("https://results.example/a.jpg?signed=1"),))
    return record.advance(evolve(Snapshot("task-1", Status.SUCCEEDED, 1.0, outputs), **fields))


async def read(media: Media | None) -> bytes:
    """The bytes of an output."""
    assert media is not None
    return b"".join([block async for block in media.blocks()])


def list_blobs(path: Path) -> list[Path]:
    """The result files of the SQLite store at `path`."""
    folder = Path(f"{path}-outputs")
    return sorted(folder.iterdir()) if folder.exists() else []


async def assert_open_fails(store: aw.SQLiteStore, match: str) -> None:
    with pytest.raises(aw.StoreError, match=match):
        await store.__aenter__()
