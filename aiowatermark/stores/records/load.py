"""What a remembered record looks like when it is read: strict shapes, each giving what it stands for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from attrs import field, frozen

from ... import errors
from ...errors import ResultExpired, WatermarkError
from ...jobs import Output, Record, Session, Snapshot, Status
from ...media.base import Media
from ...media.files import File
from ...media.memory import Link

LoadPart: TypeAlias = Callable[[str], Media]
"""Gives the media a part's name stands for; raises ResultExpired (or KeyError) where it is gone."""


@frozen
class StoredMedia:
    link: str | None = None
    file: str | None = None
    part: str | None = None
    size: int | None = None
    name: str = "media"

    def media(self, parts: LoadPart) -> Media:
        media = self._open(parts)
        if media.name != self.name:
            media.rename(self.name)
        return media

    def _open(self, parts: LoadPart) -> Media:
        if self.link is not None:
            return Link(self.link, size=self.size)
        if self.file is not None:
            return File(Path(self.file), size=self.size)
        if self.part is None:
            raise ValueError("media is a link, a file or a part")
        try:
            return parts(self.part)
        except KeyError:
            raise ResultExpired("the result was kept by the store and is gone") from None


@frozen
class StoredError:
    kind: str
    message: str
    answer: str | None = None

    def error(self) -> WatermarkError:
        kind = getattr(errors, self.kind, None)
        known: type[WatermarkError] = WatermarkError
        if isinstance(kind, type) and issubclass(kind, WatermarkError):
            known = kind
        return known(self.message, answer=self.answer)


@frozen
class StoredOutput:
    media: StoredMedia | None = None
    error: StoredError | None = None

    def output(self, parts: LoadPart) -> Output:
        if (self.media is None) == (self.error is None):
            raise ValueError("an output is media or an error, one of the two")
        if self.error is not None:
            return Output(error=self.error.error())
        try:
            return Output(None if self.media is None else self.media.media(parts))
        except ResultExpired as error:
            return Output(error=error)


@frozen
class StoredSession:
    id: str
    mask: StoredMedia | None = None
    refinements: int = 0

    def session(self, parts: LoadPart) -> Session | None:
        try:
            mask = None if self.mask is None else self.mask.media(parts)
        except ResultExpired:
            return None
        return Session(self.id, mask, self.refinements)


@frozen
class StoredSnapshot:
    status: str
    task_id: str | None = None
    progress: float | None = None
    outputs: tuple[StoredOutput, ...] = ()
    reason: str | None = None
    retry_after: float | None = None
    session: StoredSession | None = None
    details: dict[str, Any] = field(factory=dict)
    key: str | None = None

    def snapshot(self, parts: LoadPart) -> Snapshot:
        return Snapshot(
            self.task_id,
            Status(self.status),
            self.progress,
            tuple(output.output(parts) for output in self.outputs),
            self.reason,
            self.retry_after,
            None if self.session is None else self.session.session(parts),
            self.details,
            self.key,
        )


@frozen
class StoredRecord:
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

    def record(self, parts: LoadPart) -> Record:
        return Record(
            self.key,
            self.provider,
            self.snapshot.snapshot(parts),
            self.fingerprint,
            video=self.video,
            inputs=self.inputs,
            callback=self.callback,
            account=self.account,
            owner=self.owner,
            created_at=self.created_at,
            version=self.version,
        )
