"""How submissions and waits end: which errors mean that nothing was paid, and what awaiters are told."""

from __future__ import annotations

from ...errors import (
    AuthenticationError,
    DeadlineExceeded,
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    SubmissionInDoubt,
    TransferFailed,
    Unsupported,
    WatermarkError,
)
from ...jobs import Record, Status
from ..handle import JobHandle

# a submission that ends with one of these made no job
_UNPAID = (
    AuthenticationError,
    InsufficientCredits,
    InvalidInput,
    RateLimited,
    Rejected,
    TransferFailed,
    Unsupported,
)


class SubmittedElsewhere(Exception):
    """Another client has sent this very job; `record` is its."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.key)
        self.record = record


def nothing_was_paid(error: Exception) -> bool:
    """Whether a submission ended with nothing paid: refused in so many words, or never whole on the other side."""
    return isinstance(error, _UNPAID) or (isinstance(error, ProviderUnavailable) and not error.sent)


def retry_hint(handle: JobHandle, problem: WatermarkError | None) -> float | None:
    """What the server said of the next look, in its answer or in its refusal."""
    return handle.snapshot.retry_after if problem is None else getattr(problem, "retry_after", None)


def unsettled(record: Record) -> bool:
    """Whether nobody knows if the provider has this job, and nothing can be asked."""
    return record.snapshot.status is Status.IN_DOUBT and record.snapshot.task_id is None


def submission_in_doubt(handle: JobHandle, cause: Exception | None) -> SubmissionInDoubt:
    why = f" ({getattr(cause, 'message', type(cause).__name__)})" if cause is not None else ""
    error = SubmissionInDoubt(
        f"the paid request left and no usable answer came back{why}: it may have been taken, and is not sent again",
        answer=getattr(cause, "answer", None),
    )
    return error.about(provider=handle.record.provider, key=handle.key, token=handle.token)


def deadline_exceeded(handle: JobHandle, problem: WatermarkError | None) -> DeadlineExceeded:
    last = f"; the last look said: {problem}" if problem is not None else ""
    error = DeadlineExceeded(f"the job did not end in time; resume it with its token{last}")
    return error.about(provider=handle.record.provider, key=handle.key, token=handle.token)


def client_closed(handle: JobHandle) -> WatermarkError:
    """What the awaiters of a job learn when its client goes first."""
    if not handle.may_be_paid:
        error = WatermarkError("the submission was called off before anything was sent")
    else:
        error = WatermarkError("the client was closed while the job went on: resume it with its token")
        error.token = handle.token
    return error.about(provider=handle.record.provider, key=handle.key, token=None)


def job_failed(handle: JobHandle) -> JobFailed:
    """The provider gave up."""
    snapshot = handle.snapshot
    error = JobFailed(f"the job failed: {snapshot.reason or 'no reason was given'}")
    error.snapshot = snapshot
    return error.about(provider=handle.record.provider, key=handle.key, token=handle.token)
