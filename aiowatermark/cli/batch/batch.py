"""One run of `remove` or `resume`: opens what it needs, runs the workers, reports, and returns the exit code.

Opened in this order, closed in reverse:

    output folder     checked first: a run that cannot save must not pay
    callback server   only with --callback-url; must still accept deliveries while the client closes
    store             only with --store; must still accept writes while the client closes
    progress display  closed when all workers have ended, before the summary is printed
    client            closed before the workers end: its closing answers or ends the calls that they wait for

How a run ends:

    all items done     workers end, client closes, drain() returns immediately       EXIT_OK or EXIT_SOME_FAILED
    first Ctrl-C       `stop` is set: run() returns early, the client waits up to    EXIT_SOME_FAILED
                       _DRAIN seconds for answers to paid requests, drain() collects
    second Ctrl-C      CancelledError during the closing or drain(): abort()         EXIT_SOME_FAILED, from runner.run
    cannot start       StoreError or InvalidInput before a worker runs               EXIT_NOT_STARTED, from runner.run

Once workers have been created the summary is printed however the run ends, because it names the jobs that may have been
paid and the commands that fetch them. The first Ctrl-C cancels nothing outside the workers (see runner and workers).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing

import click
from attrs import define, frozen

from ... import Client, JobStore, Limits, Provider, SubmissionInDoubt
from ...jobs import Record
from ..console.progress import ProgressDisplay
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED
from ..options.callbacks import CallbackOptions
from ..options.store import store_from
from .output_folder import OutputFolder
from .report import BatchRequest, make_reporter, print_summary
from .workers import BatchAction, BatchItem, WorkerPool

_DRAIN = 20.0
"""Seconds that closing the client waits for the answers to paid requests. Longer than the SDK's default of 5, because
the user sees the wait and can end it."""
_MAX_SUBMISSIONS = 16
"""Submissions at a time, however many jobs are in flight: the SDK's default."""


@define
class BatchContext:
    """What a BatchAction works with: the client, and the store if one is used; both are open when it runs."""

    client: Client
    store: JobStore | None

    async def find_record(self, key: str) -> Record | None:
        """Return the stored record of a job; raise SubmissionInDoubt if it may have been paid without an answer."""
        record = await self.store.get(key) if self.store is not None else None
        if record is not None and record.in_doubt:
            raise SubmissionInDoubt(
                "it was sent before and no answer was received: it may have been paid, or another process is sending it"
            ).about(provider=record.provider, key=key, token=record.token)
        return record


@frozen
class BatchLimits:
    """Maximum number of concurrent jobs, and the seconds that each may take."""

    jobs: int
    deadline: float


async def run_batch(
    request: BatchRequest,
    provider: Provider,
    prepare: Callable[[BatchContext], tuple[BatchAction, AsyncIterator[BatchItem]]],
    stop: asyncio.Event,
    *,
    batch_limits: BatchLimits,
    callbacks: CallbackOptions,
) -> int:
    """Run a batch and return the exit code; raise InvalidInput or StoreError if it cannot be started.

    `prepare` is called once with the context and returns the action and the items.
    """
    jobs = batch_limits.jobs
    outputs = OutputFolder(request.folder, uses_manifest=request.store is not None)
    await asyncio.to_thread(outputs.prepare)
    if request.html is not None:
        request.html.total = request.total
        await request.html.check()
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(callbacks.open(provider))
        store = await stack.enter_async_context(store_from(request.store)) if request.store else None
        limits = Limits(submissions=min(jobs, _MAX_SUBMISSIONS), in_flight=jobs)
        client = Client(
            provider,
            limits=limits,
            deadline=batch_limits.deadline,
            drain=_DRAIN,
            store=store,
            callbacks=receiver,
            trust_env=True,
        )
        action, items = prepare(BatchContext(client, store))
        # with --json stdout is for programs
        display = ProgressDisplay(sys.stderr if request.as_json else sys.stdout, request.total)
        pool = WorkerPool(action, provider.display_name, outputs, display, make_reporter(request), stop)
        await _run_workers(pool, client, items, min(jobs, request.total or jobs), request)
    code = EXIT_SOME_FAILED if stop.is_set() or pool.not_done else EXIT_OK
    return code if request.html is None else await request.html.save(code, err=request.as_json)


async def _run_workers(
    pool: WorkerPool, client: Client, items: AsyncIterator[BatchItem], workers: int, request: BatchRequest
) -> None:
    """Open the client and run the workers; print the summary however that ends."""
    try:
        with pool.display:
            async with aclosing(items) as source, client:  # type: ignore[type-var]
                await pool.run(source, workers)
                if pool.stop.is_set():
                    pool.display.close()
                    _print_stopping()
            await pool.drain()
    except BaseException:
        # also CancelledError: the second Ctrl-C
        pool.abort()
        raise
    finally:
        print_summary(request, pool)


def _print_stopping() -> None:
    click.echo(
        f"Stopping: nothing more is submitted; waiting up to {_DRAIN:.0f} s for the answers to what has been sent. "
        "Press Ctrl-C again to exit immediately.",
        err=True,
    )
