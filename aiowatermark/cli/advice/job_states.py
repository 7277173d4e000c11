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


UNPAID_REASON = "settled as unpaid, and not submitted since: it is not at the provider, and nothing is being uploaded"


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


def how_to_submit_again(*, in_folder: bool) -> str:
    """Return what submits a job again for which nothing is paid; `in_folder`: it is one of an output folder."""
    # a store may be one of programs, whose jobs no command submits
    who = "The same `aiowatermark remove` command" + ("" if in_folder else ", or the program that sent it,")
    return f"{who} submits it again."


def sent_at(record: Record) -> float | None:
    """Return when the paid request of a job was sent last, in seconds since 1970; None if that is not known."""
    return record.attempts[-1].at if record.attempts else record.created_at or None
