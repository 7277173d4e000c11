"""Dask runner: processes items on the workers of a dask cluster, with one client per worker and one shared store.

Needs the extra `[dask]`. Dask runs a task again when its worker dies. Each item has a job key in the shared store, and
that key is what prevents a second charge.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from attrs import define, field, frozen
from distributed import Client as Cluster
from distributed import Worker, WorkerPlugin, as_completed, get_worker

from .client.client import Client
from .client.stream import Failed as Failed  # users import it from here
from .client.stream import T_co, deprecated_item
from .errors import WatermarkError
from .media import Source, as_media
from .media.base import safe_name

SourceT = TypeVar("SourceT", bound=Source)
OpenClient: TypeAlias = Callable[[], Client]
"""Creates a worker's client, with its provider and the store that all workers share; called on the worker."""


@frozen
class Saved(Generic[T_co]):
    """An item that succeeded: `item` as it was passed, `path` the file with its result."""

    item: T_co
    path: Path

    @property
    def media(self) -> T_co:
        """The item: the name of `item` in version 0.1, to be removed in 0.3."""
        return deprecated_item(self.item)


class ClientPlugin(WorkerPlugin):
    """Opens a worker's client for its first batch and closes it with the worker."""

    name = "aiowatermark"

    def __init__(self, open_client: OpenClient) -> None:
        self._open = open_client
        self._client: asyncio.Future[Client] | None = None

    def setup(self, worker: Worker) -> None:
        """Do nothing: a worker that gets no batch opens no client."""

    async def client(self) -> Client:
        """Return the worker's client, which is opened once for all batches."""
        if self._client is None:
            self._client = asyncio.ensure_future(self._open().__aenter__())
        # shield: a cancelled batch must not cancel the opening that other batches wait for
        return await asyncio.shield(self._client)

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - dask's own signature
        """Close the client; unfinished jobs stay in the store."""
        if self._client is not None:
            await (await self._client).__aexit__()


@define(eq=False)
class DaskRunner(Generic[SourceT]):
    """Processes items on a dask cluster.

    `open_client` creates each worker's client. `folder`, where results are saved, must be writable for all workers.
    `key` returns the job key of an item: the same for the same item, also in a later run. `batch` items are sent to a
    worker together and are processed concurrently there; `ahead` batches are at the cluster at a time. `options` are
    passed to `Client.remove`.
    """

    cluster: Cluster
    open_client: OpenClient
    folder: Path
    key: Callable[[SourceT], str]
    batch: int = 32
    ahead: int = 16
    options: dict[str, Any] = field(factory=dict)

    async def run(self, items: Iterable[SourceT]) -> AsyncIterator[Saved[SourceT] | Failed[SourceT]]:
        """Yield the outcome of every item, in the order in which batches end.

        `items` is read lazily: at most `ahead` batches are in memory. If a worker dies, its batches run again and find
        their keys in the store: an item with a result is not paid again, and one whose answer was lost is Failed with
        SubmissionInDoubt.
        """
        await self.cluster.register_plugin(ClientPlugin(self.open_client))
        source = iter(items)
        running: Any = as_completed(  # type: ignore[no-untyped-call]
            [self._submit_batch(batch) for batch in self._next_batches(source, self.ahead)]
        )
        async for future in running:
            for outcome in await future:
                yield outcome
            future.release()
            for batch in self._next_batches(source, 1):
                running.add(self._submit_batch(batch))

    def _next_batches(self, source: Iterable[SourceT], count: int) -> list[list[SourceT]]:
        """Take up to `count` batches from the items; the last may be shorter, empty ones are left out."""
        batches = (list(islice(iter(source), self.batch)) for _ in range(count))
        return [batch for batch in batches if batch]

    def _submit_batch(self, batch: list[SourceT]) -> Any:
        keys = [self.key(item) for item in batch]
        # pure=False: dask must not merge batches that look alike
        return self.cluster.submit(_process_batch, batch, keys, self.folder, self.options, pure=False)


async def _process_batch(
    batch: list[SourceT], keys: list[str], folder: Path, options: dict[str, Any]
) -> list[Saved[SourceT] | Failed[SourceT]]:
    """Process one batch on a worker, on the worker's own event loop."""
    plugin: Any = get_worker().plugins[ClientPlugin.name]
    client = await plugin.client()
    jobs = (_process_one(client, item, key, folder, options) for item, key in zip(batch, keys, strict=True))
    return list(await asyncio.gather(*jobs))


async def _process_one(
    client: Client, item: SourceT, key: str, folder: Path, options: dict[str, Any]
) -> Saved[SourceT] | Failed[SourceT]:
    try:
        result = await client.remove(item, key=key, **options)
        name = as_media(item).name
        return Saved(item, await result.save(folder / safe_name(f"{key.replace('/', '_')}-{name}")))
    except WatermarkError as error:
        return Failed(item, error)


Spread = DaskRunner
Lost = Failed
"""Names of version 0.1, to be removed in 0.3."""
