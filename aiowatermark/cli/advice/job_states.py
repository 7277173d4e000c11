"""States of jobs: each says what the user can do with a job, in the words of the command line."""

from __future__ import annotations

from enum import StrEnum

from ...jobs import Record


class State(StrEnum):
    """What a user can do with a job."""

    RUNNING = "running"
    FINISHED = "finished"
    HELD = "held"
    UNSENT = "unsent"
    UNPAID = "unpaid"
    IN_DOUBT = "in doubt"
    ENDED = "ended"


AGAIN_IN_FOLDER = "The same `aiowatermark remove` command submits it again."
AGAIN_IN_STORE = "Submit it again under the same key (with `aiowatermark remove`: the same command)."
UNPAID_REASON = "settled as unpaid; submit it again under the same key"


def state_of(record: Record, *, is_gone: bool) -> State:
    """Return the state of a job; `is_gone`: no living client owns it."""
    if record.snapshot.status.terminal:
        return State.ENDED if record.acknowledged else State.FINISHED
    # a client that stopped waiting for the answer has left the job to an operator who settles it
    if not is_gone and not (record.in_doubt and not record.answer_pending):
        return State.HELD
    if record.in_doubt:
        return State.IN_DOUBT
    if record.settled_unpaid:
        return State.UNPAID
    return State.UNSENT if record.unsent else State.RUNNING
