"""Jobs: what to do (`Job`), one observation (`Snapshot`) and what is persisted (`Record`), with every transition.

Theory of operation of `Record.advance`. A job only moves forward. A snapshot of a lower rank is ignored:

    rank  status             meaning
    0     UPLOADING          a video is being uploaded; nothing was paid
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

A record starts as UPLOADING (videos) or IN_DOUBT (images: the paid request comes first). It is persisted before any
request is sent, so after a crash it claims no more than is known.

Invariants: the rank never decreases; a known task_id is never lost, though another may replace it (a video that gets a
new upload URL); progress never decreases within a status; a new record has `version + 1`, and `advance` returns the
record itself if and only if nothing changed. Applying a snapshot twice has the effect of applying it once, so polls,
callbacks and other replicas may report in any order and any number of times.

Concurrency: all classes are frozen and nothing here performs I/O, reads a clock or awaits, so any task or thread may
call it, and there is nothing to cancel. Two writers that advance the same record are ordered by the store: it refuses
a version that is not higher than its own and returns its record, to which the writer applies its snapshot again.
Failure: `advance` never raises. `Record.from_token` raises InvalidInput for text that is not a valid token.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from .errors import InvalidInput, WatermarkError
from .introspection import documented, short_repr
from .media.base import Media
from .media.memory import Link
from .redaction import redact_url, short_excerpt, short_text


class Status(StrEnum):
    """State of a job. IN_DOUBT: the paid request may have been sent and its answer is not known."""

    UPLOADING = "uploading"
    IN_DOUBT = "in_doubt"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether no other status can follow."""
        return self is Status.SUCCEEDED or self is Status.FAILED


_RANK = {
    Status.UPLOADING: 0,
    Status.IN_DOUBT: 1,
    Status.QUEUED: 2,
    Status.RUNNING: 3,
    Status.SUCCEEDED: 4,
    Status.FAILED: 4,
}
_TOKEN_PREFIX = "aw1."  # noqa: S105 - not a secret: it names the format


@frozen
class Session:
    """A provider's refinement session: its id, the mask of everything removed so far, the number of refinements."""

    id: str = field(repr=False)
    mask: Media | None = field(default=None, repr=False)
    refinements: int = 0


@frozen
class Job:
    """What to do: one or more inputs, what to remove, and the provider's own options."""

    inputs: tuple[Media, ...]
    mask: Media | None = None
    options: Mapping[str, Any] = field(factory=dict)
    session: Session | None = None
    video: bool = False

    def __repr__(self) -> str:
        """The first input, the mask and the names of the options; an option's value may be secret."""
        return short_repr(
            self,
            short_text(self.media.name, 40) if self.inputs else "",
            f"and {len(self.inputs) - 1} more" if len(self.inputs) > 1 else "",
            f"mask={short_text(self.mask.name, 40)}" if self.mask else "",
            f"options={short_text(','.join(self.options), 60)}" if self.options else "",
            "refinement" if self.session else "",
            "video" if self.video else "",
        )

    @property
    def media(self) -> Media:
        """The first input; most providers accept only one."""
        return self.inputs[0]

    @property
    def fingerprint(self) -> str:
        """A digest that is equal for equal jobs only; it contains no content and no secret."""
        parts = [*(media.identity for media in self.inputs), self.mask.identity if self.mask else ""]
        parts += [f"{name}={_identity(value)}" for name, value in sorted(self.options.items())]
        parts.append(self.session.id if self.session else "")
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _identity(value: Any) -> str:
    return value.identity if isinstance(value, Media) else repr(value)


@documented
@frozen
class Output:
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
        reason: why the job failed or is in doubt.
        retry_after: seconds after which the provider asks to be queried again.
        session: what a refinement of the result needs.
        details: further facts from the provider; not compared.
        key: the job's key, set where snapshots of several jobs arrive together; not compared.
    """

    task_id: str | None
    status: Status
    progress: float | None = None
    outputs: tuple[Output, ...] = ()
    reason: str | None = None
    retry_after: float | None = None
    session: Session | None = None
    details: Mapping[str, Any] = field(factory=dict, eq=False)
    key: str | None = field(default=None, eq=False)

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
        account: a digest that tells the provider's accounts apart.
        owner: the client that opened the record.
        created_at: when it was opened, in seconds since 1970.
        version: the number of changes since then.
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

    def __repr__(self) -> str:
        """The provider, the job's key, its state, the provider's id and the version."""
        task_id = self.snapshot.task_id
        return short_repr(
            self,
            short_text(self.provider, 20),
            short_text(self.key, 60),
            str(self.snapshot.status),
            f"task_id={short_text(task_id, 40)}" if task_id is not None else "",
            f"version={self.version}",
        )

    def advance(self, snapshot: Snapshot) -> Record:
        """Return the record after an observation, or the record itself if it changes nothing; see the module's head."""
        current = self.snapshot
        if current.status.terminal or _RANK[snapshot.status] < _RANK[current.status]:
            return self
        if snapshot.task_id is None and current.task_id is not None:
            snapshot = evolve(snapshot, task_id=current.task_id)
        if snapshot.status is current.status:
            snapshot = _keep_progress(current, snapshot)
            if snapshot == current:
                return self
        # not evolve(), which takes three times as long: this runs for every observation of every job
        return Record(
            self.key,
            self.provider,
            snapshot,
            self.fingerprint,
            self.video,
            self.inputs,
            self.callback,
            self.account,
            self.owner,
            self.created_at,
            self.version + 1,
        )

    # State predicates. Other modules use these and do not repeat the conditions.

    @property
    def in_doubt(self) -> bool:
        """Whether a paid request may have been accepted while no task id is known, so that nothing can be queried."""
        return self.snapshot.status is Status.IN_DOUBT and self.snapshot.task_id is None

    @property
    def answer_pending(self) -> bool:
        """Whether the paid request is about to be sent, or is waiting for its answer, in the owner of this record."""
        return self.in_doubt and self.before_payment

    @property
    def unsent(self) -> bool:
        """Whether nothing was paid yet: the paid request follows the upload, and the upload has not ended."""
        return self.snapshot.status is Status.UPLOADING

    @property
    def before_payment(self) -> bool:
        """Whether this version is written before the paid request is sent; if that fails, nothing may be paid."""
        # format 1 has no field for it: before the request IN_DOUBT is written without a reason, which is recorded when
        # the owner stops waiting for the answer; a video has a task id by then
        return self.unsent or (self.snapshot.status is Status.IN_DOUBT and self.snapshot.reason is None)

    @property
    def at_provider(self) -> bool:
        """Whether the provider has this job and it has not ended, so that it can be queried."""
        return not (self.in_doubt or self.unsent or self.snapshot.status.terminal)

    def replaceable_by(self, record: Record) -> bool:
        """Whether a store replaces this record by another version of it: only by a newer one, and not if terminal."""
        return not self.snapshot.status.terminal and record.version > self.version

    @property
    def token(self) -> str:
        """A text that resumes this job in any process with the same account; it contains no secret."""
        parts = [self.provider, self.key, self.snapshot.task_id, int(self.video), list(self.inputs)]
        text = json.dumps(parts, separators=(",", ":"))
        return _TOKEN_PREFIX + urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def from_token(cls, token: str) -> Record:
        """Return the record a token stands for; raises InvalidInput if the text is not a valid token."""
        try:
            provider, key, task_id, video, inputs = _decode_token(token)
            if not isinstance(inputs, list) or not all(isinstance(text, str) for text in (provider, key, *inputs)):
                raise TypeError  # noqa: TRY301 - every kind of damage ends in the one InvalidInput below
            if not (task_id is None or isinstance(task_id, str)):
                raise TypeError  # noqa: TRY301
        # RecursionError: a token may decode to deeply nested JSON
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise InvalidInput("not a valid job token: pass handle.token or error.token unchanged") from None
        snapshot = Snapshot(task_id, Status.QUEUED if task_id else Status.IN_DOUBT)
        return cls(key, provider, snapshot, video=bool(video), inputs=tuple(inputs))


def _decode_token(token: str) -> tuple[Any, Any, Any, Any, Any]:
    if not token.startswith(_TOKEN_PREFIX):
        raise ValueError
    text = token.removeprefix(_TOKEN_PREFIX)
    provider, key, task_id, video, inputs = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return provider, key, task_id, video, inputs


def _keep_progress(current: Snapshot, snapshot: Snapshot) -> Snapshot:
    """Return the new snapshot, with the current progress if that is further."""
    if current.progress is not None and (snapshot.progress is None or snapshot.progress < current.progress):
        return evolve(snapshot, progress=current.progress)
    return snapshot
