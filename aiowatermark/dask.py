"""Many machines: items read lazily, spread over a dask cluster, each worker one client, one store for all.

Needs the extra `[dask]`. The engine runs a task again when a worker dies; the key of each item, in the shared store,
is what keeps that from being paid twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from attrs import define, field, frozen
from distributed import Client as Cluster
from distributed import Worker, WorkerPlugin, as_completed, get_worker

from .client.client import Client
from .client.stream import Failed
from .errors import WatermarkError
from .media import Source, as_media
from .media.base import safe_name

OpenClient: TypeAlias = Callable[[], Client]
"""Makes a worker's client, with its provider and the store that all workers share; called on the worker."""


@frozen
class Saved:
    """One item that succeeded: the item as it was given, and where its result is."""

    media: Any
    path: Path


class ClientPlugin(WorkerPlugin):
    """Gives a worker its client when its first batch comes, and closes it with the worker."""

    name = "aiowatermark"

    def __init__(self, open_client: OpenClient) -> None:
        self._open = open_client
        self._client: asyncio.Future[Client] | None = None

    def setup(self, worker: Worker) -> None:
        """Nothing yet: a worker without work opens nothing."""

    async def client(self) -> Client:
        """The worker's client; opened once, however many batches ask."""
        if self._client is None:
            self._client = asyncio.ensure_future(self._open().__aenter__())
        return await asyncio.shield(self._client)

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - dask's own signature
        """Close the client; jobs that go on stay in the store."""
        if self._client is not None:
            await (await self._client).__aexit__()


@define(eq=False)
class DaskRunner:
    """Work for a cluster: `folder` is one that all workers can write to, `key` names each item's job.

    `batch` items go to a worker at a time, which has them under way at once; `ahead` batches are with the cluster.
    """

    cluster: Cluster
    open_client: OpenClient
    folder: Path
    key: Callable[[Source], str]
    batch: int = 32
    ahead: int = 16
    options: dict[str, Any] = field(factory=dict)

    async def run(self, items: Iterable[Source]) -> AsyncIterator[Saved | Failed]:
        """The outcomes of all items as they come; a million items are never in memory at once.

        A worker that dies costs a rerun, which finds its keys in the store: finished items are not paid again, and
        those whose answer died with it are Failed with SubmissionInDoubt.
        """
        await self.cluster.register_plugin(ClientPlugin(self.open_client))
        source = iter(items)
        running: Any = as_completed([self._sent(part) for part in self._parts(source, self.ahead)])  # type: ignore[no-untyped-call]
        async for future in running:
            for outcome in await future:
                yield outcome
            future.release()
            for part in self._parts(source, 1):
                running.add(self._sent(part))

    def _parts(self, source: Iterable[Source], most: int) -> list[list[Source]]:
        parts = (list(islice(iter(source), self.batch)) for _ in range(most))
        return [part for part in parts if part]

    def _sent(self, part: list[Source]) -> Any:
        keys = [self.key(item) for item in part]
        return self.cluster.submit(_process_batch, part, keys, self.folder, self.options, pure=False)


async def _process_batch(
    part: list[Source], keys: list[str], folder: Path, options: dict[str, Any]
) -> list[Saved | Failed]:
    """One batch, on a worker's own loop."""
    plugin: Any = get_worker().plugins[ClientPlugin.name]
    client = await plugin.client()
    jobs = (_process_one(client, item, key, folder, options) for item, key in zip(part, keys, strict=True))
    return list(await asyncio.gather(*jobs))


async def _process_one(client: Client, item: Source, key: str, folder: Path, options: dict[str, Any]) -> Saved | Failed:
    try:
        result = await client.remove(item, key=key, **options)
        name = as_media(item).name
        return Saved(item, await result.save(folder / safe_name(f"{key.replace('/', '_')}-{name}")))
    except WatermarkError as error:
        return Failed(item, error)


Spread = DaskRunner
Lost = Failed
"""The names of version 0.1; they go in 0.3."""
