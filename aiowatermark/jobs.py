"""What is to be done and where it stands: the only place that decides transitions."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from .errors import InvalidInput, WatermarkError
from .media.base import Media


class Status(StrEnum):
    """Where a job stands. IN_DOUBT: the paid request left and its answer is not known."""

    UPLOADING = "uploading"
    IN_DOUBT = "in_doubt"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether nothing can follow."""
        return self is Status.SUCCEEDED or self is Status.FAILED


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
    """What a provider remembers between refinements: its id, the mask so far, and how many there were."""

    id: str = field(repr=False)
    mask: Media | None = field(default=None, repr=False)
    refinements: int = 0


@frozen
class Job:
    """What is to be done: one or more inputs, what to remove, and the provider's own options."""

    inputs: tuple[Media, ...]
    mask: Media | None = None
    options: Mapping[str, Any] = field(factory=dict)
    session: Session | None = None
    video: bool = False

    @property
    def media(self) -> Media:
        """The first input; most providers take one."""
        return self.inputs[0]

    @property
    def fingerprint(self) -> str:
        """What tells this job from another, as a digest: no content, no secrets."""
        parts = [*(media.identity for media in self.inputs), self.mask.identity if self.mask else ""]
        parts += [f"{name}={_identity(value)}" for name, value in sorted(self.options.items())]
        parts.append(self.session.id if self.session else "")
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _identity(value: Any) -> str:
    return value.identity if isinstance(value, Media) else repr(value)


@frozen
class Output:
    """What became of one input: `media` or `error`, exactly one of the two."""

    media: Media | None = None
    error: WatermarkError | None = None


@frozen
class Snapshot:
    """One observation of a job. `progress` is 0..1; `retry_after` is the server's hint in seconds.

    `details` are the provider's own facts; `key` names the job where snapshots of many come together.
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


INITIAL_SNAPSHOT = Snapshot(None, Status.IN_DOUBT)
"""How a record opens: the next thing that happens may cost money."""


@frozen
class Record:
    """What is remembered of a job: enough to find it again, no API key and no file content.

    `account` tells accounts of one provider apart without their keys; `owner` is the client that opened the record;
    `callback` is the hash of its callback key; `created_at` is in seconds since 1970.
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

    def advance(self, snapshot: Snapshot) -> Record:
        """The record after an observation: never back, never out of a terminal status; itself if nothing is new."""
        mine = self.snapshot
        if mine.status.terminal or _RANK[snapshot.status] < _RANK[mine.status]:
            return self
        if snapshot.task_id is None and mine.task_id is not None:
            snapshot = evolve(snapshot, task_id=mine.task_id)
        if snapshot.status is mine.status:
            snapshot = _merge(mine, snapshot)
            if snapshot == mine:
                return self
        # by hand: this happens with every observation, and evolve() takes three times as long
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

    @property
    def token(self) -> str:
        """A text that resumes this job in any process with the same account; it holds no secret."""
        parts = [self.provider, self.key, self.snapshot.task_id, int(self.video), list(self.inputs)]
        text = json.dumps(parts, separators=(",", ":"))
        return _TOKEN_START + urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def from_token(cls, token: str) -> Record:
        """The record a token speaks of; raises InvalidInput for a text that is no token."""
        try:
            provider, key, task_id, video, inputs = _decode_token(token)
            if not isinstance(inputs, list) or not all(isinstance(text, str) for text in (provider, key, *inputs)):
                raise TypeError  # noqa: TRY301 - one way out for every kind of damage
            if not (task_id is None or isinstance(task_id, str)):
                raise TypeError  # noqa: TRY301
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise InvalidInput(
                "this is no token of a job: give the text of handle.token or error.token as it was"
            ) from None
        snapshot = Snapshot(task_id, Status.QUEUED if task_id else Status.IN_DOUBT)
        return cls(key, provider, snapshot, video=bool(video), inputs=tuple(inputs))


_TOKEN_START = "aw1."  # noqa: S105 - not a secret: it says what the text is


def _decode_token(token: str) -> tuple[Any, Any, Any, Any, Any]:
    if not token.startswith(_TOKEN_START):
        raise ValueError
    text = token.removeprefix(_TOKEN_START)
    provider, key, task_id, video, inputs = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return provider, key, task_id, video, inputs


def _merge(mine: Snapshot, other: Snapshot) -> Snapshot:
    if mine.progress is not None and (other.progress is None or other.progress < mine.progress):
        return evolve(other, progress=mine.progress)
    return other
