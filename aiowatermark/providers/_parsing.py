"""Answers read tolerantly where the documents leave room: what only decorates never costs a paid result."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from ..codec import TextLike, parse
from ..errors import InvalidInput, UnexpectedAnswer
from ..http_errors import raise_unexpected
from ..media.memory import Link
from ..wire import Response


@frozen
class _Submitted:
    task_id: TextLike


def parse_task_id(data: Any, reply: Response) -> str:
    """The `task_id` in a data object; raises UnexpectedAnswer where there is none."""
    return require_task_id(parse(data, _Submitted, reply).task_id, reply)


def require_task_id(task_id: str | None, reply: Response) -> str:
    """A task's id; raises UnexpectedAnswer where there is none."""
    if task_id is None or not task_id.strip():
        raise_unexpected("the answer names no task", reply)
    return task_id


def json_or_empty(reply: Response) -> Mapping[str, Any]:
    """The answer's JSON object; an empty one for a refusal by HTTP status that holds none."""
    try:
        return reply.json()
    except UnexpectedAnswer:
        if reply.status in range(200, 300):
            raise
        return {}


def to_float(value: Any) -> float | None:
    """A finite number, given as one or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def to_int(value: Any) -> int | None:
    """A whole number, given as one or as text; None for anything else."""
    if type(value) is int:
        return value
    found = to_float(value)
    return int(found) if found is not None and found.is_integer() else None


def to_fraction(value: Any, of: float = 1.0) -> float | None:
    """A progress as 0..1, where `of` is all of it; None for what is no number."""
    found = to_float(value)
    return None if found is None else min(max(found / of, 0.0), 1.0)


def first_text(*values: Any) -> str | None:
    """The first of some values that says something, as text."""
    return next((str(value) for value in values if isinstance(value, str | int | float) and str(value).strip()), None)


def to_link(value: Any) -> Link | None:
    """A result's link; None for what is none."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        return Link(value) if parts and parts.scheme in {"http", "https"} and parts.hostname else None
    except ValueError:
        return None


def to_bool(value: Any) -> bool:
    """An option that is on or off, as the APIs' own texts too; raises InvalidInput for anything else."""
    text = str(value).lower()
    if text not in {"true", "1", "false", "0"}:
        raise InvalidInput(f"an option that is True or False cannot be {value!r}")
    return text in {"true", "1"}
