"""Observer: hears what the transport and the engine do, counts it, logs it, and passes it to the user's function.

    the transport     with RequestTrace(observer, …): …         one per HTTP request; see requests.py
    the engine        observer.trace(record, …) -> JobTrace      one per job; hears of every change of its record
                      observer.job(event, record, …)             for what concerns a record without a running job

Cost. Counting is an addition. A log line and an event are made only if they are wanted: per event one call of
`isEnabledFor` and one comparison of `on_event` with None; no text is built before that. With both off, a job of one
submission and five polls costs 5 µs here, one per cent of what the client spends on it (benchmarks/observation.py).

A function that raises never harms a job: the error is logged once for each kind of event and class of error. Everything
runs on the client's event loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import Any, TypeAlias

from ..errors import (
    AuthenticationError,
    DeadlineExceeded,
    InsufficientCredits,
    InvalidInput,
    RateLimited,
    Rejected,
    SubmissionInDoubt,
    WatermarkError,
)
from ..jobs import Record, Snapshot, Status
from ..redaction import short_text
from . import events
from .advice import SettleAdvice
from .events import EventType, JobChanged, RequestEnded, RequestStarted, fields_of, log, write
from .stats import Counters

Event: TypeAlias = RequestStarted | RequestEnded | JobChanged
OnEvent: TypeAlias = Callable[[Event], object]
"""Called on the event loop with each event; it must not block."""

_MAX_REASON = 500
_BEFORE_ACCEPTANCE = frozenset({Status.UPLOADING, Status.IN_DOUBT})
_EVENT_BY_STATUS = {
    Status.RUNNING: (events.JOB_RUNNING,),
    Status.SUCCEEDED: (events.JOB_SUCCEEDED,),
    Status.FAILED: (events.JOB_FAILED,),
}
_REFUSALS = (AuthenticationError, InsufficientCredits, Rejected)


@cache
def changes(before: Status, after: Status) -> tuple[EventType, ...]:
    """Return what happened to a job whose status changed."""
    if after is before or after in _BEFORE_ACCEPTANCE:
        return ()
    accepted = (events.JOB_ACCEPTED,) if before in _BEFORE_ACCEPTANCE else ()
    return accepted + _EVENT_BY_STATUS.get(after, ())


def ending(error: BaseException, *, may_be_paid: bool) -> EventType:
    """Return how a job ended of which no terminal status is known."""
    if isinstance(error, SubmissionInDoubt):
        return events.JOB_IN_DOUBT
    # the error of a job that is paid has its token; that of a refusal has none, although its request was sent
    if may_be_paid and getattr(error, "token", None) is not None:
        return events.JOB_DEADLINE_EXCEEDED if isinstance(error, DeadlineExceeded) else events.JOB_UNFINISHED
    refused = isinstance(error, _REFUSALS) or (isinstance(error, RateLimited) and error.status is not None)
    return events.JOB_REJECTED if refused else events.JOB_UNSENT


class Observer:
    """What one client and its transport report to; raises InvalidInput if `on_event` cannot be called so."""

    def __init__(self, on_event: OnEvent | None = None) -> None:
        if on_event is not None and (not callable(on_event) or inspect.iscoroutinefunction(on_event)):
            raise InvalidInput(
                f"on_event must be a function that is called with one event, not {type(on_event).__name__}"
                f"{' with async def' if callable(on_event) else ''}"
            )
        self.counters = Counters()
        self.requests_started = 0
        self.clock: Callable[[], float] = monotonic
        self.hooked = on_event is not None
        self.settle_advice = SettleAdvice()
        self._on_event = on_event
        self._reported: set[tuple[str, str]] = set()

    def wants(self, event: EventType) -> bool:
        """Whether such an event is reported: to a function of the user's, or to the log."""
        return self.hooked or event.logger.isEnabledFor(event.level)

    def trace(self, record: Record, *, resumed: bool) -> JobTrace:
        """Observe a job that will be sent or waited for."""
        trace = JobTrace(self, own=not resumed)
        if resumed:
            self.job(events.JOB_RESUMED, record)
        else:
            self.counters.submitted += 1
            self.job(events.JOB_SUBMITTED, record)
        return trace

    def job(self, event: EventType, record: Record, **details: Any) -> None:
        """Report an event of a job; `details` are the fields that are not the record's."""
        if not self.wants(event):
            return
        snapshot = record.snapshot
        if "reason" in event.fields and (reason := details.get("reason", snapshot.reason)) is not None:
            details["reason"] = short_text(reason, _MAX_REASON)
        if "token" in event.fields:
            details["token"] = record.token
        if event is events.JOB_IN_DOUBT:
            details["advice"] = self.settle_advice.about(record)
        if "charged" in event.fields:
            details["charged"] = None if record.charged is None else record.charged.credits
        task_id = None if snapshot.task_id is None else short_text(snapshot.task_id, 200)
        known = {name: value for name, value in details.items() if name in event.fields}
        changed = JobChanged(event.name, record.key, record.provider, task_id, snapshot.status, **known)
        write(event, fields_of(event, changed))
        if event.hooked:
            self.call(changed)

    def callback(self, record: Record) -> None:
        """Report a callback for a job."""
        self.counters.callbacks += 1
        self.job(events.CALLBACK_RECEIVED, record)

    def call(self, event: Event) -> None:
        """Pass an event to the user's function."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - the user's function may raise anything
            kind = (getattr(event, "event", type(event).__name__), type(error).__name__)
            if kind not in self._reported:
                self._reported.add(kind)
                log.exception("on_event raised for %s; this is logged once", kind[0])


class JobTrace:
    """What is observed of one job under way. `own`: this client submits it, so its outcome and its time count."""

    __slots__ = ("_observer", "_outcome_open", "_own", "_started")

    def __init__(self, observer: Observer, *, own: bool) -> None:
        self._observer = observer
        self._own = self._outcome_open = own
        self._started = observer.clock()

    def changed(self, before: Snapshot, record: Record) -> None:
        """The record of the job has another snapshot than `before`."""
        for event in changes(before.status, record.snapshot.status):
            if event is events.JOB_ACCEPTED:
                self._count_outcome("accepted")
            elif event is not events.JOB_RUNNING:
                self._count_end(record, event)
            if self._observer.wants(event):
                self._observer.job(event, record, seconds=self._seconds)

    def found(self, record: Record) -> None:
        """Another client, or an earlier process, submitted this very job."""
        self._count_outcome("found")
        self._own = False
        self._observer.job(events.JOB_FOUND, record)

    def ended(self, record: Record, error: BaseException, *, may_be_paid: bool) -> None:
        """This client stops waiting for the job: `error` is why; a terminal status was reported before."""
        if record.snapshot.status.terminal:
            return
        event = ending(error, may_be_paid=may_be_paid)
        if event is events.JOB_IN_DOUBT and not self._own:
            return  # the client that submitted it has reported the doubt
        self._count_outcome({events.JOB_REJECTED: "rejected", events.JOB_UNSENT: "unsent"}.get(event, "in_doubt"))
        reason = error.message if isinstance(error, WatermarkError) else ""
        if event is events.JOB_IN_DOUBT:
            reason = record.snapshot.reason or reason
        self._observer.job(event, record, seconds=self._seconds, error=type(error).__name__, reason=reason)

    def callback(self, record: Record) -> None:
        """A callback for the job arrived."""
        self._observer.callback(record)

    @property
    def _seconds(self) -> float | None:
        return round(self._observer.clock() - self._started, 3) if self._own else None

    def _count_outcome(self, name: str) -> None:
        if self._outcome_open:
            self._outcome_open = False
            counters = self._observer.counters
            setattr(counters, name, getattr(counters, name) + 1)

    def _count_end(self, record: Record, event: EventType) -> None:
        counters = self._observer.counters
        if record.charged is not None:
            counters.charged += record.charged.credits
            counters.charged_jobs += 1
        if event is events.JOB_FAILED:
            counters.failed += 1
            return
        counters.succeeded += 1
        if self._own:
            counters.durations.add(self._observer.clock() - self._started)
