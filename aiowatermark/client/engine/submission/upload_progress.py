"""Upload progress: passes the bytes sent to the handle of a job and to the caller's function."""

from __future__ import annotations

import logging

from attrs import define, evolve, field

from ....jobs import Snapshot, Status
from ....media.base import ProgressCallback
from ...handle import ActiveJob

log = logging.getLogger("aiowatermark")


def follow_upload(job: ActiveJob, function: ProgressCallback | None) -> UploadProgress | None:
    """Progress is followed where someone sees it: the caller's function, or the handle of a video."""
    return None if function is None and not job.record.video else UploadProgress(job, function)


@define(eq=False)
class UploadProgress:
    """Passes upload progress to the job's handle and to the caller's function, which is dropped if it raises."""

    job: ActiveJob
    function: ProgressCallback | None
    _published: float = field(default=0.0, init=False)

    def __call__(self, sent: int, total: int | None) -> None:
        """Called by the transport as bytes are sent."""
        record = self.job.record
        if record.unsent and total and self._should_publish(sent / total):
            snapshot = Snapshot(record.snapshot.task_id, Status.UPLOADING, sent / total)
            # in memory only, so the version stays: the store's versions count what crash recovery needs
            self.job.update(evolve(record.advance(snapshot), version=record.version))
        if self.function is not None:
            self._call(self.function, sent, total)

    def _should_publish(self, share: float) -> bool:
        """Publish at most one snapshot per percent; a restarted upload goes back and is published, too."""
        publish = share >= self._published + 0.01 or share == 1.0 or share < self._published
        if publish:
            self._published = share
        return publish

    def _call(self, function: ProgressCallback, sent: int, total: int | None) -> None:
        try:
            function(sent, total)
        except Exception:
            self.function = None
            log.exception("job %s: its progress function raised and is not called again; the job goes on", self.job.key)
