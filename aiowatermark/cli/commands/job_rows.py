"""Rows of `jobs`: the state of a job by what the user can do, as text and as JSON."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

import click

from ...jobs import Record
from ..batch.json_lines import json_line
from ..console.texts import MAX_NAME, printable


class State(StrEnum):
    """What a user can do with a job."""

    RUNNING = "running"
    FINISHED = "finished"
    HELD = "held"
    UNSENT = "unsent"
    IN_DOUBT = "in doubt"
    ENDED = "ended"


ADVICE = {
    State.RUNNING: (
        "running at the provider. To fetch the results:\n  aiowatermark resume --all {store} --provider NAME{output}"
    ),
    State.FINISHED: (
        "finished, and the results were not fetched. To fetch them:\n"
        "  aiowatermark resume KEY {store} --provider NAME{output}"
    ),
    State.HELD: "in the hands of a client that is alive. Leave them to it.",
    State.UNSENT: "unsent: the upload was not complete, nothing was paid. Repeat the `aiowatermark remove` command.",
    State.IN_DOUBT: (
        "in doubt: sent, but no answer was received; may have been paid. Look for it in your account at the provider.\n"
        "If the account shows it with a task id, if it was paid and has none, or if it was not paid:\n"
        "  aiowatermark jobs settle {store} KEY --task-id ID --provider NAME\n"
        "  aiowatermark jobs settle {store} KEY --paid\n"
        "  aiowatermark jobs settle {store} KEY --unpaid"
    ),
    State.ENDED: "ended.",
}
_ROW = "{:<40}  {:<12}  {:<9}  {:>7}  {}"
HEADER = _ROW.format("key", "provider", "status", "age", "task id, token")


def state_of(record: Record, *, is_gone: bool) -> State:
    """Return the state of a job; `is_gone`: no living client owns it."""
    if record.snapshot.status.terminal:
        return State.ENDED if record.acknowledged else State.FINISHED
    # a client that stopped waiting for the answer has left the job to an operator who settles it
    if not is_gone and not (record.in_doubt and not record.answer_pending):
        return State.HELD
    if record.in_doubt:
        return State.IN_DOUBT
    return State.UNSENT if record.unsent else State.RUNNING


def as_text(record: Record, state: State) -> str:
    """Return the two lines of a job."""
    row = (printable(record.key, MAX_NAME), record.provider, state.value, _age(record), record.snapshot.task_id or "-")
    # of a file the name and the size, of a URL a digest, which says nothing
    inputs = [name for name in record.inputs if ":" in name]
    names = printable(f"{', '.join(inputs)}  " if inputs else "", MAX_NAME)
    return printable(_ROW.format(*row)) + "\n" + click.style(f"    {names}{record.token}", dim=True)


def as_json(record: Record, state: State) -> str:
    """Return the JSON line of a job."""
    return json_line(**details(record, state))


def details(record: Record, state: State) -> dict[str, Any]:
    """Return what an operator may want to know of a job, as JSON types."""
    snapshot = record.snapshot
    return {
        "key": record.key,
        "provider": record.provider,
        "account": record.account,
        "status": snapshot.status.value,
        "state": state.value,
        "reason": snapshot.reason,
        "age": round(time.time() - record.created_at, 1) if record.created_at else None,
        "since": record.created_at or None,
        "accepted_at": record.accepted_at,
        "task_id": snapshot.task_id,
        "token": record.token,
        "inputs": list(record.inputs),
        "owner": record.owner,
        "attempts": [{"at": each.at, "account": each.account, "outcome": each.outcome} for each in record.attempts],
        "history": list(record.history),
    }


def _age(record: Record) -> str:
    """Return the age in the largest unit of which it has at least two."""
    if not record.created_at:
        return "-"
    seconds = max(0.0, time.time() - record.created_at)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
