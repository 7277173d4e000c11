"""AcceptedTasks: notices when a provider gives one task id to two submissions.

A cache between here and the provider may answer a second submission with the answer to the first; then waiting for that
task gives the second job the result of the first. Only an operator can tell, so the record and the log say it.
Jobs of the same work may share a task: their results are the same.
"""

from __future__ import annotations

from attrs import define, field

from ....jobs import Record
from ....media.fingerprints import same_job

_REMEMBERED = 10_000


@define(eq=False)
class AcceptedTasks:
    """The newest tasks that this client's submissions were given: key and fingerprint of the job by task id."""

    _jobs: dict[str, tuple[str, str]] = field(factory=dict, init=False)

    def other_holder(self, task_id: str | None, record: Record) -> str | None:
        """Return the key of another job, of other work, that was given this task; else remember whose it is."""
        if task_id is None:
            return None
        key, fingerprint = self._jobs.setdefault(task_id, (record.key, record.fingerprint))
        if key != record.key:
            return None if same_job(fingerprint, record.fingerprint) else key
        if len(self._jobs) > _REMEMBERED:
            del self._jobs[next(iter(self._jobs))]
        return None
