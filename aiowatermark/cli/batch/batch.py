"""The frame of `remove` and `resume`: a folder, a store, a client, a crew at work, a report, an exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing

import click
from attrs import define, frozen

from ... import Client, JobStore, Limits, Provider, SubmissionInDoubt
from ...jobs import Record, Status
from ..console.progress import ProgressDisplay
from ..console.runner import DONE, SOME_FAILED
from ..options.callbacks import CallbackOptions
from ..options.store import store_from
from .output_folder import OutputFolder
from .report import BatchRequest, make_reporter, summary
from .workers import BatchAction, BatchItem, WorkerPool

_DRAIN = 20.0
"""Seconds for which Ctrl-C waits for the answers to what was sent: each of them may have been paid."""


@define
class BatchContext:
    """What a task works with: an open client, and an open store where there is one."""

    client: Client
    store: JobStore | None

    async def known(self, key: str) -> Record | None:
        """What is remembered of a job; raises SubmissionInDoubt where nobody knows whether it was paid."""
        record = await self.store.get(key) if self.store is not None else None
        if record is not None and record.snapshot.status is Status.IN_DOUBT and record.snapshot.task_id is None:
            msg = "it was sent before and no answer is known: it may have been paid, or is being sent at this moment"
            raise SubmissionInDoubt(msg).about(provider=record.provider, key=key, token=record.token)
        return record


@frozen
class BatchLimits:
    """How many jobs at once, and how many seconds each may take."""

    jobs: int
    deadline: float


async def run_batch(
    errand: BatchRequest,
    provider: Provider,
    begun: Callable[[BatchContext], tuple[BatchAction, AsyncIterator[BatchItem]]],
    stop: asyncio.Event,
    *,
    pace: BatchLimits,
    callbacks: CallbackOptions,
) -> int:
    """Do the items and say what became of them; raises InvalidInput or StoreError where nothing can start."""
    outputs = OutputFolder(errand.folder, remembers=errand.store is not None)
    await asyncio.to_thread(outputs.prepare)
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(callbacks.open(provider))
        store = await stack.enter_async_context(store_from(errand.store)) if errand.store else None
        limits = Limits(submissions=min(pace.jobs, 16), in_flight=pace.jobs)
        client = Client(provider, limits=limits, deadline=pace.deadline, drain=_DRAIN, store=store, callbacks=receiver)
        task, items = begun(BatchContext(client, store))
        board = ProgressDisplay(sys.stderr if errand.as_json else sys.stdout, errand.total)
        crew = WorkerPool(task, provider.display_name, outputs, board, make_reporter(errand), stop)
        await _run_workers(crew, client, items, min(pace.jobs, errand.total or pace.jobs), errand)
    return SOME_FAILED if stop.is_set() or crew.unfinished else DONE


async def _run_workers(
    crew: WorkerPool, client: Client, items: AsyncIterator[BatchItem], workers: int, errand: BatchRequest
) -> None:
    """Have the crew do it with the client open; whatever happens, say how it ended."""
    try:
        with crew.display:
            async with aclosing(items) as source, client:  # type: ignore[type-var]
                await crew.run(source, workers)
                if crew.stop.is_set():
                    crew.display.close()
                    _watch_for_hints()
            await crew.drain()
    except BaseException:
        crew.abort()
        raise
    finally:
        summary(errand, crew)


def _watch_for_hints() -> None:
    click.echo(
        "Stopping: nothing more is sent; waiting for answers to what was. Ctrl-C again leaves at once.", err=True
    )
