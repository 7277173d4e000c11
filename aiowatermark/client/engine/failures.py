"""How submissions and waits fail: which errors prove that nothing was paid, and the errors that awaiters get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import evolve

from ...clock import now
from ...errors import (
    AuthenticationError,
    DeadlineExceeded,
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    JobNotFound,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    SubmissionInDoubt,
    TransferFailed,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from ...jobs import Record, Snapshot
from ..handle import ActiveJob

# a submission that ended with one of these created no job at the provider
_NOTHING_PAID = (
    AuthenticationError,
    InsufficientCredits,
    InvalidInput,
    RateLimited,
    Rejected,
    TransferFailed,
    Unsupported,
)


def nothing_was_paid(error: Exception) -> bool:
    """Whether this error proves that no job was created: the provider refused it, or never got the whole request."""
    return isinstance(error, _NOTHING_PAID) or (isinstance(error, ProviderUnavailable) and not error.sent)


def as_watermark_error(error: BaseException) -> WatermarkError:
    """The error itself, or one that says what was raised where a WatermarkError was expected; `__cause__` has it."""
    if isinstance(error, WatermarkError):
        return error
    # not its text: it may hold what must not be shown
    unexpected = WatermarkError(f"unexpected {type(error).__name__}: see __cause__")
    unexpected.__cause__ = error
    return unexpected


class _AsWatermarkErrors:
    # a class, because a generator would take five times as long, for every job
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, WatermarkError):
            raise as_watermark_error(error)


as_watermark_errors = _AsWatermarkErrors()
"""Turns whatever a provider raises, perhaps one of another package, into a WatermarkError."""


def check_snapshot(value: object, what: str) -> None:
    """Raise UnexpectedAnswer if a provider's flow returned something else: one of another package may."""
    if not isinstance(value, Snapshot):
        raise UnexpectedAnswer(f"{what} of the provider returned {type(value).__name__} and not a Snapshot")


def retry_hint(snapshot: Snapshot, problem: WatermarkError | None) -> float | None:
    """Seconds the provider asked to wait before the next query, in its last answer or its last refusal."""
    return snapshot.retry_after if problem is None else getattr(problem, "retry_after", None)


def submission_in_doubt(record: Record, cause: Exception | None) -> SubmissionInDoubt:
    """The paid request was sent and its answer is not known."""
    why = f" ({getattr(cause, 'message', type(cause).__name__)})" if cause is not None else ""
    error = SubmissionInDoubt(
        f"the paid request was sent and no usable answer came back{why}: the provider may have accepted the job, "
        "so it is not sent again",
        answer=getattr(cause, "answer", None),
        provider=record.provider,
        key=record.key,
        token=record.token,
    )
    error.request_id = getattr(cause, "request_id", None)
    return error


OWNER_GONE = "the client that submitted it ended before the answer came"
"""Why a job is in doubt that a client left behind."""


def deadline_exceeded(record: Record, seconds: float, problem: WatermarkError | None = None) -> DeadlineExceeded:
    """The job did not end within its deadline of so many seconds; `problem` is what the last query met."""
    status = record.snapshot.status
    words = status.value.replace("_", " ")
    last = f"; the last query failed: {problem}" if problem is not None else ""
    error = DeadlineExceeded(
        f"the job did not end within its deadline of {seconds:g} s, its last status is {words}{last}",
        seconds=seconds,
        last_status=status,
        provider=record.provider,
        key=record.key,
        token=record.token,
    )
    error.request_id = getattr(problem, "request_id", None)
    return error


def query_refused(record: Record, cause: WatermarkError) -> UnexpectedAnswer:
    """The provider refuses, for good, to tell the state of a job that it accepted; the job may have been paid."""
    error = UnexpectedAnswer(
        f"the provider refuses to tell the state of a job that it accepted ({cause.message}): resume it with its token",
        answer=cause.answer,
        provider=record.provider,
        key=record.key,
        token=record.token,
    )
    error.request_id = cause.request_id
    return error


@asynccontextmanager
async def within_deadline(job: ActiveJob) -> AsyncIterator[None]:
    """Bound a wait for the store by the job's deadline; raises DeadlineExceeded."""
    timeout = asyncio.timeout(job.deadline - now())
    try:
        async with timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        raise deadline_exceeded(job.record, job.time_limit) from None


def client_closed(record: Record, *, may_be_paid: bool) -> WatermarkError:
    """The client was closed, or the job cancelled, before the job ended."""
    if may_be_paid:
        message, token = "the client was closed before the job ended: resume the job with its token", record.token
    else:
        message, token = "the submission was cancelled before anything was sent", None
    return WatermarkError(message, provider=record.provider, key=record.key, token=token)


TASK_NOT_FOUND = "the provider does not know the task"
"""Reason of the last snapshot of a job that the provider accepted and does not know any more."""


def job_failed(record: Record) -> JobFailed | JobNotFound:
    """The provider reported that the job failed, or that it does not know it."""
    snapshot = record.snapshot
    if snapshot.reason == TASK_NOT_FOUND:
        return JobNotFound(
            f"{TASK_NOT_FOUND} {snapshot.task_id} any more: it was accepted and may have been paid",
            provider=record.provider,
            key=record.key,
            token=record.token,
        )
    return JobFailed(
        f"the job failed: {snapshot.reason or 'the provider gave no reason'}",
        snapshot=evolve(snapshot, charged=record.charged),
        retryable=snapshot.details.get("retryable"),
        provider=record.provider,
        key=record.key,
        token=record.token,
    )
