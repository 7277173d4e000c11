"""What tests do with stores: open further ones, look up records and files, use a slot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import pytest
from attrs import define

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.stores import JobStore
from aiowatermark.stores.coordination import Coordinator
from aiowatermark.stores.owners import Owners
from tests.support.records import ACCOUNT
from tests.support.redis_server import RedisServer

T = TypeVar("T")
MakeStore: TypeAlias = Callable[[], aw.JobStore]
"""Returns a store that is not open yet; all stores of one factory hold the same records."""


class OpenStore(Protocol):
    """Opens stores with one prefix on the shared Redis, or on another server, each as another replica."""

    async def __call__(
        self, server: RedisServer | None = None, *, keep: float = 30 * 86_400.0, lease: float = 5.0
    ) -> aw.RedisStore: ...


@define(eq=False)
class ObservedStore:
    """A store that awaits `observe` before and after each of its calls; what that raises is raised."""

    inner: aw.JobStore

    async def observe(self, method: str) -> None:
        """A method is about to be called, or has been."""

    @property
    def coordinator(self) -> Coordinator | None:
        return self.inner.coordinator

    @property
    def owners(self) -> Owners:
        owners: Owners = self.inner.owners  # type: ignore[attr-defined]
        return owners

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(*exc)

    async def _call(self, name: str, call: Coroutine[Any, Any, T]) -> T:
        try:
            await self.observe(name)
        except BaseException:
            call.close()
            raise
        result = await call
        await self.observe(name)
        return result

    async def open(self, record: Record) -> Record | None:
        return await self._call("open", self.inner.open(record))

    async def put(self, record: Record) -> Record | None:
        return await self._call("put", self.inner.put(record))

    async def forget(self, record: Record) -> bool:
        return await self._call("forget", self.inner.forget(record))

    async def acknowledge(self, records: Sequence[Record]) -> None:
        await self._call("acknowledge", self.inner.acknowledge(records))

    async def get(self, key: str) -> Record | None:
        return await self._call("get", self.inner.get(key))

    async def by_callback(self, callback: str) -> Record | None:
        return await self._call("by_callback", self.inner.by_callback(callback))

    async def by_task(self, account: str, task_id: str) -> Record | None:
        return await self._call("by_task", self.inner.by_task(account, task_id))

    async def unfinished(self) -> AsyncIterator[Record]:
        await self.observe("unfinished")
        async for record in self.inner.unfinished():
            yield record
            await self.observe("unfinished")

    async def unacknowledged(self) -> AsyncIterator[Record]:
        await self.observe("unacknowledged")
        async for record in self.inner.unacknowledged():
            yield record
            await self.observe("unacknowledged")


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
