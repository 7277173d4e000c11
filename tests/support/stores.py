"""What tests do with stores: open further ones, look up records and files, use a slot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.stores import JobStore
from tests.support.records import ACCOUNT
from tests.support.redis_server import RedisServer

MakeStore: TypeAlias = Callable[[], aw.JobStore]
"""Returns a store that is not open yet; all stores of one factory hold the same records."""


class OpenStore(Protocol):
    """Opens stores with one prefix on the shared Redis, or on another server, each as another replica."""

    async def __call__(
        self, server: RedisServer | None = None, *, keep: float = 30 * 86_400.0, lease: float = 5.0
    ) -> aw.RedisStore: ...


async def get_record(store: aw.JobStore, key: str) -> Record:
    """Return the record with that key, which must exist."""
    record = await store.get(key)
    assert record is not None, key
    return record


async def list_keys(records: AsyncIterator[Record]) -> list[str]:
    """Return the keys of the records in their order."""
    return [record.key async for record in records]


async def use_slot(store: aw.RedisStore, limit: int) -> None:
    """Wait for a submit slot of `limit`, and release it."""
    async with store.coordinator.slot(ACCOUNT, limit):
        pass


def list_result_files(database: Path) -> list[Path]:
    """Return the result files of the SQLite store at `database`."""
    folder = Path(f"{database}-outputs")
    return sorted(folder.iterdir()) if folder.exists() else []


async def assert_open_fails(store: aw.JobStore, match: str) -> None:
    """Assert that opening the store raises StoreError with a message that matches."""
    with pytest.raises(aw.StoreError, match=match):
        await store.__aenter__()


async def put_record(store: JobStore, record: Record) -> Record:
    """Put a record and return the one that is stored now, which must exist."""
    stored = await store.put(record)
    assert stored is not None
    return stored
