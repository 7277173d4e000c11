"""Owners of every store that tells which of its clients are alive: what `Owners` promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiowatermark as aw
from tests.support.records import make_record


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[aw.MemoryStore | aw.SQLiteStore]:
    """An open store of each kind in turn."""
    async with aw.MemoryStore() if request.param == "memory" else aw.SQLiteStore(path) as opened:
        yield opened


async def test_an_owner_is_alive_from_its_registration_until_it_is_closed(
    store: aw.MemoryStore | aw.SQLiteStore,
) -> None:
    record, other = make_record(owner="mine"), make_record(owner="other")
    assert await store.owners.is_gone(record)
    await store.owners.register("mine")
    await store.owners.register("other")
    assert not await store.owners.is_gone(record)
    await store.owners.unregister("mine")
    assert await store.owners.is_gone(record)
    assert not await store.owners.is_gone(other)
    await store.owners.unregister("other")


async def test_closing_an_owner_that_is_not_registered_is_ignored(store: aw.MemoryStore | aw.SQLiteStore) -> None:
    await store.owners.unregister("unknown")
    assert await store.owners.is_gone(make_record(owner="unknown"))


async def test_a_record_without_an_owner_has_no_living_owner(store: aw.MemoryStore | aw.SQLiteStore) -> None:
    assert await store.owners.is_gone(make_record(owner=""))


async def test_a_client_of_another_memory_store_is_unknown() -> None:
    store, other = aw.MemoryStore(), aw.MemoryStore()
    await other.owners.register("mine")
    assert await store.owners.is_gone(make_record(owner="mine"))
    assert not await other.owners.is_gone(make_record(owner="mine"))
