"""Records in the states that the tests of stores need: new, accepted, finished."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from aiowatermark.jobs import INITIAL_SNAPSHOT, Output, Record, Snapshot, Status
from aiowatermark.media.base import Media
from aiowatermark.media.memory import Link

ACCOUNT = "kaze-1"


def make_record(key: str = "job-1", **fields: Any) -> Record:
    """Return a new record, as a client creates it; `fields` are those of `Record`."""
    defaults: dict[str, Any] = {
        "snapshot": INITIAL_SNAPSHOT,
        "fingerprint": "f" * 32,
        "inputs": ("photo.jpg:7",),
        "account": ACCOUNT,
        "created_at": 1.5,
    }
    return Record(key, "kaze", **(defaults | fields))


def accept(record: Record, task_id: str = "task-1") -> Record:
    """Return the record once the provider has accepted the job."""
    return record.advance(Snapshot(task_id, Status.QUEUED))


def finish(record: Record, *media: Media, **fields: Any) -> Record:
    """Return the record of the finished job, with one link as its output unless other media are given.

    `fields` are those of `Snapshot`.
    """
    outputs = tuple(Output(each) for each in media or (Link("https://results.example/a.jpg?signed=1"),))
    task_id = record.snapshot.task_id or "task-1"
    return record.advance(evolve(Snapshot(task_id, Status.SUCCEEDED, 1.0, outputs), **fields))
