"""load: the record that `dump` wrote as JSON, checked strictly field by field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import cattrs
from attrs import field, frozen

from ... import errors
from ...charges import Charge, ChargeSource
from ...codec import converter
from ...errors import ResultExpired, StoreError, WatermarkError
from ...jobs import Output, Record, Session, Snapshot, Status
from ...ledger import Attempt
from ...media.base import Media
from ...media.files import File
from ...media.memory import Link
from .dump import FORMAT, OLD_FORMATS

LoadPart: TypeAlias = Callable[[str], Media]
"""Returns the media of a part by its name; raises ResultExpired or KeyError if the part does not exist."""


def load(data: Any, load_part: LoadPart) -> Record:
    """Return the record that `dump` made `data` of; raises StoreError for damaged data and for a newer format.

    An output whose part does not exist becomes a ResultExpired. A session whose mask does not exist is dropped,
    because a refinement without the mask would restore what was erased before.
    """
    version = data.get("v") if isinstance(data, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise StoreError(
            f"the record has format {version}, but this version of aiowatermark reads format {FORMAT}: "
            "use the newer version"
        )
    # True == 1, so a bool has to be refused explicitly
    if isinstance(version, bool) or (version != FORMAT and version not in OLD_FORMATS):
        raise StoreError("the record is damaged: it is not an aiowatermark record")
    try:
        return converter.structure(data, StoredRecord).to_record(load_part)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        problem = "; ".join(cattrs.transform_error(error)) if isinstance(error, cattrs.BaseValidationError) else error
        raise StoreError(f"the record is damaged: {problem}") from None


@frozen
class StoredMedia:
    """The JSON of media: exactly one of a link, a file's path and a part's name."""

    link: str | None = None
    file: str | None = None
    part: str | None = None
    size: int | None = None
    name: str = "media"

    def to_media(self, load_part: LoadPart) -> Media:
        """Return the media; raises ResultExpired if its part does not exist."""
        media = self._open(load_part)
        if media.name != self.name:
            media.rename(self.name)
        return media

    def _open(self, load_part: LoadPart) -> Media:
        if self.link is not None:
            return Link(self.link, size=self.size)
        if self.file is not None:
            return File(Path(self.file), size=self.size)
        if self.part is None:
            raise ValueError("media must have a link, a file or a part")
        try:
            return load_part(self.part)
        except KeyError:
            raise ResultExpired("the store does not hold this result any more") from None


@frozen
class StoredError:
    """The JSON of an error; `kind` is a class name in errors.py."""

    kind: str
    message: str
    answer: str | None = None

    def to_error(self) -> WatermarkError:
        """Return the error; a class that this version does not know becomes a WatermarkError."""
        kind = getattr(errors, self.kind, None)
        error_class: type[WatermarkError] = WatermarkError
        # errors.py also holds names that are not error classes
        if isinstance(kind, type) and issubclass(kind, WatermarkError):
            error_class = kind
        return error_class(self.message, answer=self.answer)


@frozen
class StoredOutput:
    """The JSON of an output."""

    media: StoredMedia | None = None
    error: StoredError | None = None

    def to_output(self, load_part: LoadPart) -> Output:
        """Return the output; one whose part does not exist gets a ResultExpired error."""
        if (self.media is None) == (self.error is None):
            raise ValueError("an output must have either media or an error")
        if self.error is not None:
            return Output(error=self.error.to_error())
        try:
            return Output(None if self.media is None else self.media.to_media(load_part))
        except ResultExpired as error:
            return Output(error=error)


@frozen
class StoredSession:
    """The JSON of a refinement session."""

    id: str
    mask: StoredMedia | None = None
    refinements: int = 0

    def to_session(self, load_part: LoadPart) -> Session | None:
        """Return the session; None if the part of its mask does not exist."""
        try:
            mask = None if self.mask is None else self.mask.to_media(load_part)
        except ResultExpired:
            return None
        return Session(self.id, mask, self.refinements)


@frozen
class StoredSnapshot:
    """The JSON of a snapshot."""

    status: str
    task_id: str | None = None
    progress: float | None = None
    outputs: tuple[StoredOutput, ...] = ()
    reason: str | None = None
    retry_after: float | None = None
    session: StoredSession | None = None
    details: dict[str, Any] = field(factory=dict)
    key: str | None = None

    def to_snapshot(self, load_part: LoadPart) -> Snapshot:
        """Return the snapshot; raises ValueError for an unknown status."""
        return Snapshot(
            self.task_id,
            Status(self.status),
            self.progress,
            tuple(output.to_output(load_part) for output in self.outputs),
            self.reason,
            self.retry_after,
            None if self.session is None else self.session.to_session(load_part),
            self.details,
            self.key,
        )


@frozen
class StoredRecord:
    """The JSON of a record."""

    key: str
    provider: str
    snapshot: StoredSnapshot
    fingerprint: str
    video: bool
    inputs: tuple[str, ...]
    callback: str | None
    account: str
    owner: str
    created_at: float
    version: int
    epoch: int = 0
    attempts: tuple[tuple[float, str, str | None], ...] = ()
    masked: bool = False
    route: str | None = None
    accepted_at: float | None = None
    charged: float | None = None
    charge_source: ChargeSource = "answer"
    acknowledged: bool = False
    labels: dict[str, str] = field(factory=dict)
    trace: str | None = None
    history: tuple[str, ...] = ()

    def to_record(self, load_part: LoadPart) -> Record:
        """Return the record."""
        return Record(
            self.key,
            self.provider,
            self.snapshot.to_snapshot(load_part),
            self.fingerprint,
            video=self.video,
            inputs=self.inputs,
            callback=self.callback,
            account=self.account,
            owner=self.owner,
            created_at=self.created_at,
            version=self.version,
            epoch=self.epoch,
            attempts=tuple(Attempt(*attempt) for attempt in self.attempts),
            masked=self.masked,
            route=self.route,
            accepted_at=self.accepted_at,
            charged=None if self.charged is None else Charge(self.charged, self.charge_source),
            acknowledged=self.acknowledged,
            labels=self.labels,
            trace=self.trace,
            history=self.history,
        )
