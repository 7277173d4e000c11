"""Jobs: what to do (`Job`), one observation (`Snapshot`) and what is persisted (`Record`), with every transition.

Theory of operation of `Record.advance`. A job only moves forward. A snapshot of a lower rank is ignored:

    rank  status             meaning
    0     UPLOADING          nothing was paid: a video is being uploaded, or an attempt waits for its turn
    1     IN_DOUBT           the paid request was sent, or may be sent now; its answer is not known
    2     QUEUED             the provider accepted the job
    3     RUNNING            the provider works on it
    4     SUCCEEDED, FAILED  terminal; nothing changes such a record

    snapshot compared with the record            record.advance(snapshot)
    record is terminal, or snapshot ranks lower  the record itself
    same status                                  merged: progress keeps its maximum, other fields are the snapshot's;
                                                 the record itself if nothing changed
    snapshot ranks higher                        a new record with the snapshot
    in each case: a snapshot without task_id     keeps the known task_id
    another task_id than the one that was paid   noted in the history; nothing else of that snapshot is applied

A record starts as UPLOADING (videos, a wait for the rate) or IN_DOUBT, and is persisted before any request is sent.

Invariants: `advance` never decreases the rank; a task_id that was paid for is never lost nor replaced, one from before
the payment may be (a video that gets a new upload URL); progress never decreases within a status; a new record has
`version + 1`, and `advance` returns the record itself if and only if nothing changed. Applying a snapshot twice has the
effect of applying it once, so polls, callbacks and other replicas may report in any order and any number of times.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from .charges import Charge
from .errors import WatermarkError
from .introspection import documented, short_repr
from .ledger import Attempt, add, end_attempt
from .media.base import Media
from .media.fingerprints import fingerprint
from .media.inspection import Inspected
from .media.memory import Link
from .redaction import clean_reason, redact_url, short_excerpt, short_text
from .tokens import Token, decode_token, encode_token


class Status(StrEnum):
    """State of a job. IN_DOUBT: the paid request may have been sent and its answer is not known.

    Args:
        value: the name of the status in logs and stores.
    """

    UPLOADING = "uploading"
    IN_DOUBT = "in_doubt"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    terminal: bool
    """Whether no other status can follow."""

    def __init__(self, value: str) -> None:
        self.terminal = value in {"succeeded", "failed"}


_RANK = {
    Status.UPLOADING: 0,
    Status.IN_DOUBT: 1,
    Status.QUEUED: 2,
    Status.RUNNING: 3,
    Status.SUCCEEDED: 4,
    Status.FAILED: 4,
}


@frozen
class Session:
    """A provider's refinement session: its id, the mask of everything removed so far, the number of refinements."""

    id: str = field(repr=False)
    mask: Media | None = field(default=None, repr=False)
    refinements: int = 0


@frozen
class Job:
    """What to do: one or more inputs, what to remove, and the provider's own options.

    `extra_fields` are sent with the paid request as they are.
    """

    inputs: tuple[Media, ...]
    mask: Media | None = None
    options: Mapping[str, Any] = field(factory=dict)
    session: Session | None = None
    video: bool = False
    extra_fields: Mapping[str, str | int | float | bool] = field(factory=dict)

    def __repr__(self) -> str:
        """The first input, the mask and the names of the options; an option's value may be secret."""
        return short_repr(
            self,
            short_text(self.media.name, 40) if self.inputs else "",
            f"and {len(self.inputs) - 1} more" if len(self.inputs) > 1 else "",
            f"mask={short_text(self.mask.name, 40)}" if self.mask else "",
            f"options={short_text(','.join(self.options), 60)}" if self.options else "",
            f"extra_fields={short_text(','.join(self.extra_fields), 60)}" if self.extra_fields else "",
            "refinement" if self.session else "",
            "video" if self.video else "",
        )

    @property
    def media(self) -> Media:
        """The first input; most providers accept only one."""
        return self.inputs[0]

    @property
    def fingerprint(self) -> str:
        """What `same_job` recognises a repeated submission by; it contains no content and no secret."""
        given = [item for item in sorted(self.options.items()) if item[1] is not None]
        known = {} if self.mask is None else {"mask": self.mask}
        known |= {name: value for name, value in given if isinstance(value, Media)}
        plain = [item for item in given if item[0] not in known]
        shape = (len(self.inputs), list(known), plain, self.session.id if self.session else "")
        extra = (sorted(self.extra_fields.items()),) if self.extra_fields else ()
        return fingerprint(repr((*shape, *extra)), (*self.inputs, *known.values()))


@documented
@frozen
class Output(Inspected):
    """The outcome for one input: either `media` or `error` is set.

    Args:
        media: the result, to be saved or read with `Result.save` and `Result.read`.
        error: why there is none.
    """

    media: Media | None = None
    error: WatermarkError | None = None

    def __repr__(self) -> str:
        """The kind and name of the media, or its URL without the query; or the error."""
        if self.error is not None:
            return short_repr(self, f"{type(self.error).__name__}:", short_excerpt(self.error.message, 120))
        if self.media is None:
            return short_repr(self, "empty")
        name = redact_url(self.media.url) if isinstance(self.media, Link) else self.media.name
        size = "" if self.media.size is None else f"{self.media.size} bytes"
        return short_repr(self, type(self.media).__name__, short_text(name, 120), size)


@documented
@frozen
class Snapshot:
    """One observation of a job.

    Args:
        task_id: the provider's id of the job; None while unknown.
        status: the state of the job.
        progress: how much is done, from 0 to 1; None if the provider does not tell.
        outputs: the results, one per input in the inputs' order; empty until the job ends.
        reason: why the job failed or is in doubt, on one line of at most 500 characters, without secrets.
        retry_after: seconds after which the provider asks to be queried again.
        session: what a refinement of the result needs.
        details: further facts from the provider; not compared.
        key: the job's key, set where snapshots of several jobs arrive together; not compared.
        charged: what the job cost; None if this observation does not tell.
    """

    task_id: str | None
    status: Status
    progress: float | None = None
    outputs: tuple[Output, ...] = ()
    reason: str | None = field(default=None, converter=clean_reason)
    retry_after: float | None = None
    session: Session | None = None
    details: Mapping[str, Any] = field(factory=dict, eq=False)
    key: str | None = field(default=None, eq=False)
    charged: Charge | None = None

    def __repr__(self) -> str:
        """The fields that are set, without the details and without the content of the outputs and the session."""
        return short_repr(
            self,
            str(self.status),
            f"key={short_text(self.key, 40)}" if self.key is not None else "",
            f"task_id={short_text(self.task_id, 40)}" if self.task_id is not None else "",
            f"progress={self.progress:g}" if self.progress is not None else "",
            f"outputs={len(self.outputs)}" if self.outputs else "",
            f"retry_after={self.retry_after:g}" if self.retry_after is not None else "",
            "session" if self.session else "",
            f"reason={short_excerpt(self.reason, 60)}" if self.reason is not None else "",
        )


INITIAL_SNAPSHOT = Snapshot(None, Status.IN_DOUBT)
"""First snapshot of a record whose first request is the paid one: after a crash it may have been paid."""


@documented
@frozen
class Record:
    """The persisted state of a job: enough to resume it, without API key or file content.

    Args:
        key: the job's key.
        provider: the provider's name.
        snapshot: the last observation of the job.
        fingerprint: the digest of the job, by which a repeated submission is recognized.
        video: whether the job's input is a video.
        inputs: the identities of the job's inputs.
        callback: the hash of the callback key; None if no callback is expected.
        account: the account's name, or a digest of its credentials.
        owner: the client that may act for the job; empty if none does.
        created_at: when it was opened, in seconds since 1970.
        version: the number of changes since then.
        epoch: identifies the owner's claim: greater than that of any owner before; 0 in records of earlier versions.
        attempts: the paid requests, the latest one last.
        masked: whether the job has a mask or extra fields, which the record does not hold.
        route: the path of the provider's API by which the job is queried; None for the usual one.
        accepted_at: when the provider was known to have accepted the job, in seconds since 1970.
        charged: what the job cost; None while unknown.
        acknowledged: whether the result was saved, read or acknowledged.
        labels: texts kept with the job: `base_url`, where it was sent to, unless that is the provider's usual address.
        trace: the trace context (W3C `traceparent`) of the submission.
        history: what else an operator should know of the job: takeovers, settlements, contradictions.
    """

    key: str
    provider: str
    snapshot: Snapshot = INITIAL_SNAPSHOT
    fingerprint: str = ""
    video: bool = False
    inputs: tuple[str, ...] = ()
    callback: str | None = None
    account: str = ""
    owner: str = ""
    created_at: float = 0.0
    version: int = 0
    epoch: int = 0
    attempts: tuple[Attempt, ...] = ()
    masked: bool = False
    route: str | None = None
    accepted_at: float | None = None
    charged: Charge | None = None
    acknowledged: bool = False
    labels: Mapping[str, str] = field(factory=dict, hash=False)
    trace: str | None = None
    history: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The provider, the job's key, its state, the provider's id and the version."""
        task_id = f"task_id={short_text(self.snapshot.task_id, 40)}" if self.snapshot.task_id is not None else ""
        names = (short_text(self.provider, 20), short_text(self.key, 60))
        return short_repr(self, *names, str(self.snapshot.status), task_id, f"version={self.version}")

    def advance(self, snapshot: Snapshot, at: float | None = None) -> Record:
        """Return the record after an observation, or the record itself if it changes nothing.

        `at`, in seconds since 1970, is noted for the first observation that proves that the job was accepted.
        """
        current = self.snapshot
        if current.status.terminal:
            return self
        if snapshot.task_id != current.task_id and self._contradicted_by(snapshot):
            return self.note(f"the provider also reported the task {short_text(snapshot.task_id or '', 200)}")
        if _RANK[snapshot.status] < _RANK[current.status]:
            return self
        if snapshot.task_id is None and current.task_id is not None:
            snapshot = evolve(snapshot, task_id=current.task_id)
        if snapshot.status is current.status:
            snapshot = _keep_progress(current, snapshot)
            if snapshot == current:
                return self
        attempts, accepted_at = self.attempts, self.accepted_at
        if at is not None and accepted_at is None and _RANK[snapshot.status] > _RANK[Status.IN_DOUBT]:
            attempts, accepted_at = end_attempt(attempts, "accepted"), at
        # not evolve(), which takes three times as long: this runs for every observation of every job
        return Record(
            self.key, self.provider, snapshot, self.fingerprint, self.video, self.inputs, self.callback, self.account,
            self.owner, self.created_at, self.version + 1, self.epoch, attempts, self.masked, self.route, accepted_at,
            snapshot.charged or self.charged, self.acknowledged, self.labels, self.trace, self.history,
        )  # fmt: skip

    def _contradicted_by(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot is of another task than the one that was paid for."""
        known, task_id = self.snapshot.task_id, snapshot.task_id
        return not self.unsent and known is not None and task_id is not None and known != task_id

    def note(self, text: str) -> Record:
        """Return the record with a note in its history; the record itself if the history has it."""
        if text in self.history:
            return self
        return evolve(self, history=add(self.history, text), version=self.version + 1)

    # Acts of the owner.

    def commit(self, at: float, owner: str | None = None, epoch: int | None = None) -> Record:
        """Return the record before an attempt of the paid request, made `at` seconds since 1970; perhaps a new owner's.

        `owner` and `epoch` are those of a client that starts an uploaded video whose owner is gone.
        """
        snapshot = evolve(self.snapshot, status=Status.IN_DOUBT, progress=None, reason=None)
        attempts = add(self.attempts, Attempt(at, self.account))
        # a clock that is behind must not stop a new owner
        owner, epoch = owner or self.owner, self.epoch if epoch is None else max(epoch, self.epoch + 1)
        return evolve(self, snapshot=snapshot, attempts=attempts, version=self.version + 1, owner=owner, epoch=epoch)

    def withdraw(self, outcome: str) -> Record:
        """Return the record after an attempt that provably had no effect: nothing was paid."""
        snapshot = evolve(self.snapshot, status=Status.UPLOADING, progress=None, reason=None)
        attempts = end_attempt(self.attempts, outcome)
        return evolve(self, snapshot=snapshot, attempts=attempts, version=self.version + 1)

    def take_over(self, owner: str, epoch: int, at: float, callback: str | None, note: str) -> Record:
        """Return the record of a job for which nothing was paid, or whose charge is to be repeated, with a new owner.

        A store puts it only if the record was not changed since it was read.
        """
        snapshot, history = Snapshot(None, Status.UPLOADING), add(self.history, note)
        epoch, version = max(epoch, self.epoch + 1), self.version + 1
        taken = evolve(self, snapshot=snapshot, history=history, owner=owner, epoch=epoch, version=version)
        return evolve(taken, callback=callback, created_at=at, accepted_at=None, charged=None, acknowledged=False)

    def adopt(self, owner: str, epoch: int) -> Record:
        """Return the record of a paid job with a new owner, who waits for it."""
        return evolve(self, owner=owner, epoch=max(epoch, self.epoch + 1), version=self.version + 1)

    # State predicates. Other modules use these and do not repeat the conditions.

    @property
    def in_doubt(self) -> bool:
        """Whether a paid request may have been accepted while no task id is known, so that nothing can be queried."""
        return self.snapshot.status is Status.IN_DOUBT and self.snapshot.task_id is None

    @property
    def answer_pending(self) -> bool:
        """Whether the paid request is about to be sent, or is waiting for its answer, in the owner of this record."""
        return self.snapshot.status is Status.IN_DOUBT and self.snapshot.reason is None

    @property
    def unsent(self) -> bool:
        """Whether nothing was paid yet: the upload has not ended, or the last attempt had no effect."""
        return self.snapshot.status is Status.UPLOADING

    @property
    def settled_unpaid(self) -> bool:
        """Whether a doubt was settled as "not paid", and the job has not been submitted again."""
        return self.unsent and not self.owner and bool(self.attempts or self.history)

    @property
    def before_payment(self) -> bool:
        """Whether this version is written before the paid request is sent; if that fails, nothing may be paid."""
        # before the request IN_DOUBT is written without a reason, which is recorded when the owner stops waiting
        return self.unsent or self.answer_pending

    @property
    def at_provider(self) -> bool:
        """Whether the provider has this job and it has not ended, so that it can be queried."""
        return not (self.in_doubt or self.unsent or self.snapshot.status.terminal)

    def replaceable_by(self, record: Record) -> bool:
        """Whether a store replaces this record by another version: a newer one of this epoch, if this is not terminal.

        A record of a later epoch replaces it only if it was made of this very version.
        """
        if record.epoch == self.epoch:
            return record.version > self.version and not self.snapshot.status.terminal
        return record.epoch > self.epoch and record.version == self.version + 1

    def same_version(self, record: Record) -> bool:
        """Whether that is this record, unchanged: a store deletes a record only then."""
        return (record.epoch, record.version) == (self.epoch, self.version)

    def is_written(self, stored: Record | None) -> bool:
        """Whether a store that returned `stored` for `put` of this record has written it."""
        return stored is not None and stored.same_version(self) and stored.owner == self.owner

    @property
    def token(self) -> str:
        """A text that resumes this job in any process with the same account; it contains no secret."""
        task_id = self.snapshot.task_id
        return encode_token(Token(self.provider, self.key, task_id, self.video, self.inputs, self.account, self.route))

    @classmethod
    def from_token(cls, token: str) -> Record:
        """Return the record a token stands for; raises InvalidInput if the text is not a valid token."""
        provider, key, task_id, video, inputs, account, route = decode_token(token)
        snapshot = Snapshot(task_id, Status.QUEUED if task_id else Status.IN_DOUBT)
        return cls(key, provider, snapshot, video=video, inputs=inputs, account=account, route=route)


def _keep_progress(current: Snapshot, snapshot: Snapshot) -> Snapshot:
    """Return the new snapshot, with the current progress if that is further."""
    if current.progress is not None and (snapshot.progress is None or snapshot.progress < current.progress):
        return evolve(snapshot, progress=current.progress)
    return snapshot
