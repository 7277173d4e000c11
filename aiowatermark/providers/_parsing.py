"""Lenient parsing: a malformed optional field of an answer becomes None instead of failing a paid job."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from ..charges import Charge, ChargeSource
from ..codec import TextLike, parse
from ..errors import InvalidInput, UnexpectedAnswer
from ..http_errors import raise_unexpected
from ..media.memory import Link
from ..wire import MAX_RETRY_AFTER, FieldValue, Response

MAX_OUTPUTS = 1000
"""Results that are read of one answer; further ones are left out."""
_MAX_TASK_ID = 200
_MAX_LINK = 16_000
_MAX_NUMBER = 100
_MAX_INT = 1 << 63
# tuples and not unions, which are made anew each time: these run for several fields of every answer
_NUMBER_TYPES = (int, float, str)


@frozen
class _Submitted:
    task_id: TextLike


def parse_task_id(data: Any, reply: Response) -> str:
    """Return the `task_id` of a data object; raises UnexpectedAnswer if it has none."""
    return require_task_id(parse(data, _Submitted, reply).task_id, reply)


def require_task_id(task_id: str | None, reply: Response) -> str:
    """Return a task id; raises UnexpectedAnswer if it is None or cannot be one."""
    if task_id is None or not task_id.strip():
        raise_unexpected("the answer has no task id", reply)
    if to_task_id(task_id) is None:
        raise_unexpected("the answer's task id is not a name of 1 to 200 printable characters", reply)
    return task_id


def to_task_id(value: Any) -> str | None:
    """Return a task or session id, given as text or as a number; None for a value that cannot be one.

    An id is put into stores, tokens and the paths of requests, so it is short, has no control characters or
    surrogates, and is not a relative path.
    """
    text = _to_text(value)
    return text if len(text) <= _MAX_TASK_ID and text.isprintable() and text.strip(" .") else None


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
    media = [(name, value) for name, value in form.items() if not isinstance(value, str)]
    return {name: value.content_type for name, value in media if value.content_type is not None}


def to_float(value: Any) -> float | None:
    """Return a finite number, given as a number or as text; None for anything else."""
    if not isinstance(value, _NUMBER_TYPES) or isinstance(value, bool):
        return None
    try:
        number = float(value[:_MAX_NUMBER] if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def to_int(value: Any) -> int | None:
    """Return a whole number, given as a number or as text; None for anything else."""
    if type(value) is int:
        return value if abs(value) < _MAX_INT else None
    number = to_float(value)
    return int(number) if number is not None and number.is_integer() else None


def to_wait(value: Any) -> float | None:
    """Return seconds to wait, at most an hour; None if it is not a positive number."""
    seconds = to_float(value)
    return min(seconds, MAX_RETRY_AFTER) if seconds is not None and seconds > 0 else None


def to_fraction(value: Any, of: float = 1.0) -> float | None:
    """Return a progress value as a fraction between 0 and 1, where `of` is the whole; None if it is not a number."""
    number = to_float(value)
    return None if number is None else min(max(number / of, 0.0), 1.0)


def to_charge(value: Any, source: ChargeSource = "answer") -> Charge | None:
    """Return the credits that were charged; None if it is not a number of at least 0."""
    amount = to_float(value)
    return Charge(amount, source) if amount is not None and amount >= 0 else None


def first_text(*values: Any) -> str | None:
    """Return the first value that is a number or a text with visible characters, as text; None if there is none."""
    return next((text for value in values if (text := _to_text(value)).strip()), None)


def _to_text(value: Any) -> str:
    try:
        return str(value) if isinstance(value, _NUMBER_TYPES) and not isinstance(value, bool) else ""
    except ValueError:  # an integer of more digits than Python converts
        return ""


def first_items(value: Any) -> Any:
    """Return a list for the converter: an empty one for a missing value, without the items beyond MAX_OUTPUTS.

    An item that is not an object counts as one without fields: it costs its own output and not the others.
    """
    if not isinstance(value, list):
        return value or ()
    return [item if isinstance(item, dict) else {} for item in value[:MAX_OUTPUTS]]


def to_link(value: Any) -> Link | None:
    """Return a URL of a result as media; None if it is not an http or https URL of at most 16,000 characters."""
    if not isinstance(value, str) or len(value) > _MAX_LINK:
        return None
    value = value.strip()
    try:
        return Link(value) if urlsplit(value).scheme in {"http", "https"} else None
    except ValueError:  # InvalidInput, too: a URL without a host
        return None


def to_bool(value: Any) -> bool:
    """Return an option as a bool; also accepts 1, 0 and the texts "true", "false", "1", "0". Raises InvalidInput."""
    text = str(value).lower()
    if text not in {"true", "1", "false", "0"}:
        raise InvalidInput(f"the option must be True or False, not {value!r}")
    return text in {"true", "1"}
