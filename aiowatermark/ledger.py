"""Ledger: what a record keeps for an operator, its paid attempts and notes; each list keeps its first and latest."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TypeVar

from attrs import frozen

T = TypeVar("T")

_MAX_ENTRIES = 20
# the whole note, from its time on: other notes quote texts of the provider
_SETTLEMENT = re.compile(r"\d{4}-\d\d-\d\dT\S+ [a-z ]+: settled as (.+)")


@frozen
class Attempt:
    """One paid request: when it was about to be sent (seconds since 1970), to which account, and what became of it.

    `outcome` is None while its answer is not known, else `accepted`, or in words why nothing was paid.
    """

    at: float
    account: str
    outcome: str | None = None


def add(entries: tuple[T, ...], entry: T) -> tuple[T, ...]:
    """Return the entries with one more; if there are too many, the second is dropped."""
    return (*entries, entry) if len(entries) < _MAX_ENTRIES else (entries[0], *entries[2:], entry)


def settlement(outcome: str, at: float, by: str = "operator") -> str:
    """Return the note of a doubt that was settled `at`: when (in UTC), by an operator or what else, and as what."""
    return f"{datetime.fromtimestamp(at, UTC).isoformat(timespec='seconds')} {by}: settled as {outcome}"


def is_settlement(note: str, outcome: str) -> bool:
    """Whether a note is that of a doubt that was settled as this outcome."""
    found = _SETTLEMENT.fullmatch(note)
    return found is not None and found[1] == outcome


def end_attempt(attempts: tuple[Attempt, ...], outcome: str) -> tuple[Attempt, ...]:
    """Return the attempts with the outcome of the last one; an outcome that is known stays."""
    if not attempts or attempts[-1].outcome is not None:
        return attempts
    last = attempts[-1]
    return (*attempts[:-1], Attempt(last.at, last.account, outcome))
