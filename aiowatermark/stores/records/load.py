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

Parts: TypeAlias = Callable[[str], Media]
"""Gives the media a part's name stands for; raises ResultExpired (or KeyError) where it is gone."""


@frozen
class RememberedMedia:
    link: str | None = None
    file: str | None = None
    part: str | None = None
    size: int | None = None
    name: str = "media"

    def media(self, parts: Parts) -> Media:
        media = self._found(parts)
        if media.name != self.name:
            media.rename(self.name)
        return media

    def _found(self, parts: Parts) -> Media:
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
class RememberedError:
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
class RememberedOutput:
    media: RememberedMedia | None = None
    error: RememberedError | None = None

    def output(self, parts: Parts) -> Output:
        if (self.media is None) == (self.error is None):
            raise ValueError("an output is media or an error, one of the two")
        if self.error is not None:
            return Output(error=self.error.error())
        try:
            return Output(None if self.media is None else self.media.media(parts))
        except ResultExpired as error:
            return Output(error=error)


@frozen
class RememberedSession:
    id: str
    mask: RememberedMedia | None = None
    refinements: int = 0

    def session(self, parts: Parts) -> Session | None:
        try:
            mask = None if self.mask is None else self.mask.media(parts)
        except ResultExpired:
            return None
        return Session(self.id, mask, self.refinements)


@frozen
class RememberedSnapshot:
    status: str
    task_id: str | None = None
    progress: float | None = None
    outputs: tuple[RememberedOutput, ...] = ()
    reason: str | None = None
    retry_after: float | None = None
    session: RememberedSession | None = None
    details: dict[str, Any] = field(factory=dict)
    key: str | None = None

    def snapshot(self, parts: Parts) -> Snapshot:
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
class RememberedRecord:
    key: str
    provider: str
    snapshot: RememberedSnapshot
    fingerprint: str
    video: bool
    inputs: tuple[str, ...]
    callback: str | None
    account: str
    owner: str
    created_at: float
    version: int

    def record(self, parts: Parts) -> Record:
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
