"""Rows of `jobs`: what the store knows of a job, as text and as JSON."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from ...jobs import Record
from ...observation.commands import address_of
from ..advice.job_states import UNPAID_REASON, State
from ..batch.json_lines import json_line
from ..console.texts import printable, shorten
from ..console.times import local_time

SHOW_VERSION = 2
"""The format of `show`: that of the lines of --json, with times as texts."""
_COLUMNS = "  {:>6}  {:<8}  {:>7}"
_MIN_NAME = 12
_DEFAULT_COLUMNS = 80
_CLASS_NAME, _CAPITAL = re.compile(r": [A-Z]\w+$"), re.compile("[A-Z]")
FILE_IDENTITY = re.compile(r"(.+):(\d+)", re.DOTALL)
"""What a record has of an input that is a file, its name and size; of a URL there are digests."""


def header(columns: int) -> str:
    """Return the line above the jobs; `columns` is the width of the terminal, 0 for what is not one."""
    return f"{'input':<{_name_width(columns)}}{_COLUMNS.format('size', 'status', 'age')}".rstrip()


def as_text(record: Record, state: State, names: Sequence[str], *, columns: int, verbose: bool) -> str:
    """Return the line of a job; `names` are those of its inputs, if they are known.

    `columns` is the width of the terminal, 0 for what is not one: there, names are not shortened. With `verbose` a
    job's key, task id and token follow.
    """
    width, files = _name_width(columns), _files_of(record)
    name = name_of(record, names)
    shown = shorten(printable(name), width) if columns else printable(name)
    size = format_size(sum(int(found[2]) for found in files)) if files else "-"
    row = f"{shown:<{width}}{_COLUMNS.format(size, state.value, _age(record))}"
    if not verbose:
        return row
    details = [f"key {record.key}", f"{record.provider} task {record.snapshot.task_id or '-'}", f"token {record.token}"]
    return "\n".join([row, *(click.style(f"    {printable(text)}", dim=True) for text in details)])


def name_of(record: Record, names: Sequence[str]) -> str:
    """Return what a job is called: its inputs, as `names` has them if they are known, or else its key."""
    # of a URL there is a digest only, which says nothing
    return ", ".join(names or [found[1] for found in _files_of(record)]) or record.key


def _files_of(record: Record) -> list[re.Match[str]]:
    return [found for each in record.inputs if (found := FILE_IDENTITY.fullmatch(each))]


def format_size(size: int) -> str:
    """Return a number of bytes for people, in units of 1000."""
    if size < 1000:
        return f"{size} B"
    power = next((power for power in (1, 2, 3) if size / 1000**power < 999.5), 4)
    value = size / 1000**power
    return f"{value:.{0 if value >= 99.95 else 1}f} {'kMGT'[power - 1]}B"


def _name_width(columns: int) -> int:
    """Return the room for a name beside the other columns."""
    return max((columns or _DEFAULT_COLUMNS) - len(_COLUMNS.format("", "", "")) - 1, _MIN_NAME)


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
        "base_url": address_of(record),
        "status": snapshot.status.value,
        "state": state.value,
        "reason": snapshot.reason or (UNPAID_REASON if record.settled_unpaid else None),
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


def show(record: Record, state: State) -> str:
    """Return the details of a job for people: as JSON on several lines, with local times and their offset from UTC."""
    shown = details(record, state)
    shown |= {name: _local_time(shown[name]) for name in ("since", "accepted_at")}
    shown["attempts"] = [
        each | {"at": _local_time(each["at"]), "outcome": _in_words(each["outcome"])} for each in shown["attempts"]
    ]
    shown["inputs"] = [_shown_input(text) for text in record.inputs]
    shown["history"] = [_with_local_time(note) for note in record.history]
    return json.dumps({"v": SHOW_VERSION, **shown}, indent=2)


def _in_words(outcome: str | None) -> str | None:
    """Return the outcome of an attempt with the words of an error's class in place of its name."""
    return outcome and _CLASS_NAME.sub(
        lambda found: _CAPITAL.sub(r" \g<0>", found[0]).lower().replace(":  ", ": "), outcome
    )


def _shown_input(text: str) -> str:
    """Return an input as the store knows it, of a file its name and size; of a URL there are digests only."""
    found = FILE_IDENTITY.fullmatch(text)
    return text if found is None else f"{found[1]} ({int(found[2]):,} bytes)"


def _local_time(seconds: float | None) -> str | None:
    return None if seconds is None else local_time(seconds)


def _with_local_time(note: str) -> str:
    """Return a note with the time at its beginning, if there is one, as local time."""
    first, space, rest = note.partition(" ")
    try:
        return f"{_local_time(datetime.fromisoformat(first).timestamp())}{space}{rest}"
    except ValueError:
        return note


def _age(record: Record) -> str:
    """Return the age in the largest unit of which it has at least two."""
    if not record.created_at:
        return "-"
    seconds = max(0.0, time.time() - record.created_at)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
