"""How far an upload is: told to the handle and to the caller, whose own mistakes cost no job."""

from __future__ import annotations

import logging

from attrs import define, evolve, field

from ...jobs import Snapshot, Status
from ...transport.body import Progress
from ..handle import JobHandle

log = logging.getLogger("aiowatermark")


@define(eq=False)
class Told:
    """Called as bytes leave; a callback that raises is logged once and called no more."""

    handle: JobHandle
    caller: Progress | None
    _told: float = field(default=0.0, init=False)

    def __call__(self, sent: int, total: int | None) -> None:
        """So many bytes of so many have left."""
        record = self.handle.record
        if record.snapshot.status is Status.UPLOADING and total and self._worth_it(sent / total):
            moved = record.advance(Snapshot(record.snapshot.task_id, Status.UPLOADING, sent / total))
            # only in memory: the store's versions are for what matters after a crash
            self.handle.note(evolve(moved, version=record.version))
        if self.caller is not None:
            self._call(self.caller, sent, total)

    def _worth_it(self, share: float) -> bool:
        """Whether watchers would see a difference: a hundred snapshots a film, however long it is."""
        worth = share >= self._told + 0.01 or share == 1.0 or share < self._told
        if worth:
            self._told = share
        return worth

    def _call(self, caller: Progress, sent: int, total: int | None) -> None:
        try:
            caller(sent, total)
        except Exception:
            self.caller = None
            log.exception("progress of job %s raised and is told no more; the job goes on", self.handle.key)
