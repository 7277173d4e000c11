"""Lenient parsing: a malformed optional field of an answer becomes None instead of failing a paid job."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from ..codec import TextLike, parse
from ..errors import InvalidInput, UnexpectedAnswer
from ..http_errors import raise_unexpected
from ..media.base import Media
from ..media.memory import Link
from ..wire import FieldValue, Response


@frozen
class _Submitted:
    task_id: TextLike


def parse_task_id(data: Any, reply: Response) -> str:
    """Return the `task_id` of a data object; raises UnexpectedAnswer if it has none."""
    return require_task_id(parse(data, _Submitted, reply).task_id, reply)


def require_task_id(task_id: str | None, reply: Response) -> str:
    """Return a task id; raises UnexpectedAnswer if it is None or blank."""
    if task_id is None or not task_id.strip():
        raise_unexpected("the answer has no task id", reply)
    return task_id


def json_or_empty(reply: Response) -> Mapping[str, Any]:
    """Return the answer's JSON object, or an empty one if a refusal has none.

    Raises UnexpectedAnswer if an answer with a success status has none.
    """
    try:
        return reply.json()
    except UnexpectedAnswer:
        if reply.status in range(200, 300):
            raise
        return {}


def content_types(form: Mapping[str, FieldValue]) -> Mapping[str, str]:
    """Return the Content-Type of each file in a form whose format is known."""
    media = {name: value for name, value in form.items() if isinstance(value, Media)}
    return {name: value.content_type for name, value in media.items() if value.content_type is not None}


def to_float(value: Any) -> float | None:
    """Return a finite number, given as a number or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def to_int(value: Any) -> int | None:
    """Return a whole number, given as a number or as text; None for anything else."""
    if type(value) is int:
        return value
    number = to_float(value)
    return int(number) if number is not None and number.is_integer() else None


def to_fraction(value: Any, of: float = 1.0) -> float | None:
    """Return a progress value as a fraction between 0 and 1, where `of` is the whole; None if it is not a number."""
    number = to_float(value)
    return None if number is None else min(max(number / of, 0.0), 1.0)


def first_text(*values: Any) -> str | None:
    """Return the first value that is a number or a text with visible characters, as text; None if there is none."""
    return next((str(value) for value in values if isinstance(value, str | int | float) and str(value).strip()), None)


def to_link(value: Any) -> Link | None:
    """Return a URL of a result as media; None if it is not an http or https URL."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        return Link(value) if parts and parts.scheme in {"http", "https"} and parts.hostname else None
    except ValueError:
        return None


def to_bool(value: Any) -> bool:
    """Return an option as a bool; also accepts 1, 0 and the texts "true", "false", "1", "0". Raises InvalidInput."""
    text = str(value).lower()
    if text not in {"true", "1", "false", "0"}:
        raise InvalidInput(f"the option must be True or False, not {value!r}")
    return text in {"true", "1"}
