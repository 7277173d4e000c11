"""The tasks of jobs, and what becomes of them when the client closes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from math import isinf

from ..clock import now
from .engine.failures import client_closed
from .handle import ActiveJob

_CLEANUP_SECONDS = 5.0
"""Seconds in which cancelled jobs must delete their records when the client closes."""


def end_unfinished(job: ActiveJob) -> None:
    """Complete a job that this client does not follow any more; the log has the token of one that may be paid."""
    job.fail(client_closed(job.record, may_be_paid=job.may_be_paid))


async def wait_until_ended(jobs: Mapping[str, ActiveJob], until: float) -> bool:
    """Wait until no job is left, also of those that are added, at most until then on the SDK's clock."""
    while jobs and (seconds := until - now()) > 0:
        timeout = None if isinf(seconds) else seconds
        await asyncio.wait([job.ended for job in jobs.values()], timeout=timeout)
        await asyncio.sleep(0)  # the task of an ended job removes it now
    return not jobs


def cancel_tasks(jobs: Iterable[ActiveJob]) -> set[asyncio.Task[None]]:
    """Cancel jobs, running or queued; returns the tasks of those that run."""
    jobs = list(jobs)
    tasks = _tasks(jobs)
    for job in jobs:
        if job.task is not None:
            job.task.cancel()
    return tasks


async def end_tasks(jobs: list[ActiveJob], cancelled: set[ActiveJob], drain: float) -> None:
    """Cancel the tasks of jobs that are not cancelled already, and wait until all have ended."""
    # not twice: a second cancellation would interrupt the deletion of an unpaid job's record
    tasks = cancel_tasks(job for job in jobs if job not in cancelled) | _tasks(cancelled)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=max(drain, _CLEANUP_SECONDS))
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tasks(jobs: Iterable[ActiveJob]) -> set[asyncio.Task[None]]:
    return {job.task for job in jobs if isinstance(job.task, asyncio.Task)}
