"""One run of `remove` or `resume`: opens what it needs, runs the workers, reports, and returns the exit code.

Opened in this order, closed in reverse:

    output folder     checked first: a run that cannot save must not pay; with the manifest
    callback server   only with --callback-url; must still accept deliveries while the client closes
    store             unless --no-store; must still accept writes while the client closes
    progress display  closed when all workers have ended, before the summary is printed
    client            closed before the workers end: its closing answers or ends the calls that they wait for

How a run ends:

    all items done     workers end, client closes, drain() returns immediately       EXIT_OK or EXIT_SOME_FAILED
    first Ctrl-C       `stop` is set: run() returns early, the client waits up to    EXIT_SOME_FAILED
                       _DRAIN seconds for answers to paid requests, drain() collects
    second Ctrl-C      CancelledError during the closing or drain(): abort()         EXIT_SOME_FAILED, from runner.run
    no input           on stdin, whose lines should name some                        EXIT_NOT_STARTED
    key refused        for all that was not done before: nothing could be started   EXIT_NOT_STARTED
    cannot start       StoreError or InvalidInput before a worker runs               EXIT_NOT_STARTED, from runner.run

Once workers have been created the summary is printed however the run ends, because it names the jobs that may have been
paid and the commands that fetch them. The first Ctrl-C cancels nothing outside the workers (see runner and workers).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from attrs import define, frozen

from ... import CallbackReceiver, Client, JobStore, Limits, MemoryStore, Provider
from ..console.notices import show_notices
from ..console.progress import ProgressDisplay
from ..console.runner import EXIT_NOT_STARTED, EXIT_OK, EXIT_SOME_FAILED, print_error
from ..console.texts import end_echo, say
from ..options.callbacks import CallbackOptions
from ..options.store import store_from
from .account import AccountGate
from .items import BatchItem, OutcomeListener, Outcomes
from .output_folder import OutputFolder
from .report import Summary, make_reporter
from .request import BatchRequest
from .workers import BatchAction, WorkerPool

_DRAIN = 20.0
"""Seconds that closing the client waits for the answers to paid requests. Longer than the SDK's default of 5, because
the user sees the wait and can end it."""
_MAX_SUBMISSIONS = 16
"""Submissions at a time, however many jobs are in flight: the SDK's default."""


@define
class BatchContext:
    """What a command works with: all of it is open but the client, which is open when an action runs.

    `store` is None if nothing is remembered after the run.
    """

    client: Client
    store: JobStore | None
    gate: AccountGate
    outputs: OutputFolder
    display: ProgressDisplay
    stop: asyncio.Event


@frozen(eq=False)
class BatchWork:
    """What a command does: an action for each item, and what follows when all have ended and nothing was stopped.

    `total` is the number of items, and `pending` that of items that were not done before; None if it is not known.
    `nothing` is said in place of a summary if there was no item; with `needs_items` it is an error.
    """

    action: BatchAction
    items: AsyncGenerator[BatchItem, None]
    total: int | None = None
    pending: int | None = None
    at_end: Callable[[], Awaitable[None]] | None = None
    nothing: str = ""
    needs_items: bool = False


@frozen
class BatchLimits:
    """Maximum number of concurrent jobs, and the seconds that each may take."""

    jobs: int
    deadline: float


async def run_batch(
    request: BatchRequest,
    provider: Provider,
    prepare: Callable[[BatchContext], Awaitable[BatchWork]],
    stop: asyncio.Event,
    *,
    batch_limits: BatchLimits,
    callbacks: CallbackOptions,
    listener: OutcomeListener | None = None,
) -> int:
    """Run a batch and return the exit code; raise InvalidInput or StoreError if it cannot be started.

    `prepare` is called once, when all but the client is open, and returns what to do. `listener` gets each outcome.
    """
    async with AsyncExitStack() as stack:
        outputs = await stack.enter_async_context(_open_outputs(request))
        if listener is not None:
            await listener.check()
        receiver = await stack.enter_async_context(callbacks.open(provider))
        store = await stack.enter_async_context(store_from(request.store)) if request.store else None
        records = MemoryStore() if store is None else store
        client = _make_client(provider, batch_limits, records, receiver)
        # with --json stdout is for programs, and what they write may be on the same terminal as the display
        display = ProgressDisplay(sys.stderr if request.as_json else sys.stdout, None, live=not request.as_json)
        with display, show_notices(display, provider.display_name):
            context = BatchContext(client, store, AccountGate(records), outputs, display, stop)
            work = await prepare(context)
            display.total = work.total
            if work.pending is None or work.pending > 1:
                display.show_limit(describe_rate(provider))
            pool = _make_pool(context, work, request, provider, Outcomes(listener))
            try:
                await _run_workers(pool, context, work, min(batch_limits.jobs, work.total or batch_limits.jobs))
            finally:
                display.close()
                _print_summary(request, pool, work, context.gate)
    code = _exit_code(pool, work)
    return code if listener is None else await listener.save(code, err=request.as_json)


def _print_summary(request: BatchRequest, pool: WorkerPool, work: BatchWork, gate: AccountGate) -> None:
    if work.nothing and not (pool.stop.is_set() or pool.outcomes.counts):
        if work.needs_items:
            print_error(work.nothing)
        else:
            say(work.nothing, err=request.as_json)
    else:
        Summary(request, pool, work.total, gate.refusal).print()


def _exit_code(pool: WorkerPool, work: BatchWork) -> int:
    if pool.stop.is_set():
        return EXIT_SOME_FAILED
    if pool.keys_were_refused or (work.needs_items and not pool.outcomes.counts):
        return EXIT_NOT_STARTED
    return EXIT_SOME_FAILED if pool.not_done else EXIT_OK


def _make_pool(
    context: BatchContext, work: BatchWork, request: BatchRequest, provider: Provider, outcomes: Outcomes
) -> WorkerPool:
    if outcomes.listener is not None:
        outcomes.listener.total = work.total
    names, report = (provider.name, provider.display_name), make_reporter(request)
    return WorkerPool(
        work.action, context.gate, *names, context.outputs, context.display, report, context.stop, outcomes
    )


def _make_client(
    provider: Provider, batch_limits: BatchLimits, store: JobStore, receiver: CallbackReceiver | None
) -> Client:
    jobs = batch_limits.jobs
    return Client(
        provider,
        limits=Limits(submissions=min(jobs, _MAX_SUBMISSIONS), in_flight=jobs),
        deadline=batch_limits.deadline,
        drain=_DRAIN,
        store=store,
        callbacks=receiver,
        trust_env=True,
    )


@asynccontextmanager
async def _open_outputs(request: BatchRequest) -> AsyncIterator[OutputFolder]:
    outputs = OutputFolder(request.folder, uses_manifest=request.store is not None)
    await asyncio.to_thread(outputs.prepare)
    try:
        yield outputs
    finally:
        outputs.close()


def describe_rate(provider: Provider) -> str:
    """Return what bounds the rate of a batch, empty if nothing is known to."""
    rate = provider.requests_per_second
    return "" if rate is None else f"{provider.display_name}: {rate:g} request{'' if rate == 1 else 's'} per second"


async def _run_workers(pool: WorkerPool, context: BatchContext, work: BatchWork, workers: int) -> None:
    """Open the client and run the workers until all items have ended, or the run is stopped."""
    try:
        async with aclosing(work.items) as items, _open_client(context.client):
            await pool.run(items, workers)
            if pool.stop.is_set():
                _print_stopping(context.display)
        await pool.drain()
        if work.at_end is not None and not pool.stop.is_set():
            await work.at_end()
    except BaseException:
        # also CancelledError: the second Ctrl-C
        await pool.abort()
        if pool.stop.is_set():
            end_echo(sys.stderr)
        raise


@asynccontextmanager
async def _open_client(client: Client) -> AsyncIterator[None]:
    """Keep the client open; a cancellation, which is the second Ctrl-C, does not wait for the end of its closing."""
    await client.__aenter__()
    try:
        yield
    finally:
        # a task of its own: the client itself ends its closing, however often its caller is cancelled
        await asyncio.shield(asyncio.create_task(client.__aexit__(None, None, None)))


def _print_stopping(display: ProgressDisplay) -> None:
    # what is drawn is erased, and with it the terminal's echo of Ctrl-C
    if not display.is_redrawn:
        end_echo(sys.stderr)
    display.close()
    if display.output_closed:
        say("The program that reads the output has ended.", err=True)
    say(
        f"Stopping: waiting up to {_DRAIN:.0f} s for the answers to what was sent; Ctrl-C again exits at once.",
        err=True,
    )
