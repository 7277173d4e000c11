"""Says in a job's record that another job has its task, too.

A cache between a client and its provider may answer a second submission with the answer to the first; then waiting for
that task gives the second job the result of the first. Both may be paid, so both keep the task, and only an operator
can tell: the record's history and the log say it. Jobs of the same work may share a task: their results are the same.
"""

from __future__ import annotations

import logging

from attrs import evolve

from ..jobs import Record
from ..ledger import add
from ..media.fingerprints import same_job

log = logging.getLogger("aiowatermark")


def note_shared_task(record: Record, holder: Record | None) -> Record:
    """Return the record with a note, which is logged, if `holder` is another job that has its task.

    It is the same version: nothing has happened to the job. The record itself is returned if there is nothing to note,
    if both are of the same work, if nothing is paid for it yet, or if it has the note.
    """
    task_id = record.snapshot.task_id
    if holder is None or holder.key == record.key or holder.snapshot.task_id != task_id or record.before_payment:
        return record
    if same_job(holder.fingerprint, record.fingerprint):
        return record
    note = f"was given the task {task_id} of the job {holder.key}: its result may be that job's"
    if note in record.history:
        return record
    log.error("job %s %s", record.key, note)
    return evolve(record, history=add(record.history, note))
