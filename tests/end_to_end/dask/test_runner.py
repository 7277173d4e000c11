"""Dask runner on a cluster of real workers: items are read lazily, and killing a worker causes no second charge."""

from __future__ import annotations

import asyncio
import os
import signal
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from distributed import Client as Cluster

    from aiowatermark.dask import DaskRunner

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of distributed, in the processes it starts


def make_open_client(base_url: str, key: str, store: str) -> Callable[[], aw.Client]:
    """Return the function that creates a worker's client; it is pickled and called on the worker."""

    def open_client() -> aw.Client:
        import aiowatermark
        from aiowatermark.stores.sqlite.store import SQLiteStore

        provider = aiowatermark.GptGe(key, base_url=base_url, polling=aiowatermark.Polling(0.02, 1.2, 0.2))
        return aiowatermark.Client(provider, store=SQLiteStore(store), deadline=60)

    return open_client


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """Two worker processes and a real scheduler."""
    from distributed import Client, LocalCluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with (
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=2, threads_per_worker=1, processes=True, asynchronous=True, dashboard_address=":0"
            ) as local,
            Client(local, asynchronous=True) as client,  # type: ignore[no-untyped-call]
        ):
            yield client


def images(folder: Path, count: int, read: list[int]) -> Iterator[Path]:
    """Yield image files of different sizes, created when they are read; appends their numbers to `read`."""
    for number in range(count):
        read.append(number)
        path = folder / f"{number}.jpg"
        path.write_bytes(make_jpeg(padding=number))
        yield path


def make_runner(cluster: Cluster, emulator: Emulator, folder: Path) -> DaskRunner[aw.Source]:
    from aiowatermark.dask import DaskRunner

    key = emulator.keys["gptge"]
    assert isinstance(key, str)
    (folder / "clean").mkdir()
    open_client = make_open_client(emulator.base_url, key, str(folder / "jobs.db"))
    return DaskRunner(cluster, open_client, folder / "clean", key=lambda path: Path(str(path)).stem, batch=8, ahead=3)


async def test_items_are_read_lazily_and_every_result_is_saved(cluster: Cluster, tmp_path: Path) -> None:
    from aiowatermark.dask import Saved

    read: list[int] = []
    async with Emulator(restore=False, processing=0.0, credits=10**6) as emulator:
        outcomes = []
        async for outcome in make_runner(cluster, emulator, tmp_path).run(images(tmp_path, 100, read)):
            outcomes.append(outcome)
            assert len(read) <= len(outcomes) + 8 * 5
        assert emulator.charged["gptge"] == 100
    assert all(isinstance(outcome, Saved) for outcome in outcomes)
    assert len(list((tmp_path / "clean").iterdir())) == 100


async def test_killing_a_worker_causes_no_second_charge(cluster: Cluster, tmp_path: Path) -> None:
    from aiowatermark import Failed

    async with Emulator(restore=False, processing=0.2, credits=10**6) as emulator:
        outcomes: list[Any] = []

        async def run() -> None:
            async for outcome in make_runner(cluster, emulator, tmp_path).run(images(tmp_path, 60, [])):
                outcomes.append(outcome)  # noqa: PERF401

        running = asyncio.create_task(run())
        await wait_until(lambda: len(emulator.tasks) >= 16, seconds=60)
        pids = await cluster.run(os.getpid)
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        async with asyncio.timeout(120):
            await running
        assert all(task.charges <= 1 for task in emulator.tasks)
        assert len({task.outputs[0].stored.size for task in emulator.tasks if task.outputs[0].stored}) == len(
            emulator.tasks
        )
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert len(outcomes) == 60
    assert all(isinstance(outcome.error, aw.SubmissionInDoubt) for outcome in failed)
