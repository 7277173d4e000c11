"""Extra fields: form fields or JSON values of the caller's, sent with the paid request as they are.

For what a provider offers and this package does not know yet. They never replace a field that the package sends, and
are part of the job: a key that is used with other fields names another job.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeAlias

from attrs import evolve

from ..errors import InvalidInput, Unsupported
from ..jobs import Job, Snapshot
from ..provider import Flow
from ..wire import Json, Multipart, Request

ExtraValue: TypeAlias = str | int | float | bool
_MAX_FIELDS, _MAX_NAME, _MAX_TEXT, _MAX_BITS = 50, 100, 20_000, 64


def with_extra_fields(job: Job, extra_fields: Mapping[str, ExtraValue] | None) -> Job:
    """Return the job with these fields; raises InvalidInput if one of them cannot be sent."""
    if extra_fields is None:
        return job
    if not isinstance(extra_fields, Mapping) or len(extra_fields) > _MAX_FIELDS:
        raise InvalidInput(f'extra_fields must be a mapping such as {{"quality": "hd"}}, of at most {_MAX_FIELDS}')
    return evolve(job, extra_fields=dict(map(_checked, extra_fields.items())))


def _checked(item: tuple[Any, Any]) -> tuple[str, ExtraValue]:
    name, value = item
    if not isinstance(name, str) or not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidInput(f"extra_fields: a name must be a printable text of 1 to {_MAX_NAME} characters")
    # not the value itself: it may be secret
    if not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise InvalidInput(f"extra_fields: {name!r} must be a text, a number, True or False, not {kind}")
    if isinstance(value, float) and not isfinite(value):
        raise InvalidInput(f"extra_fields: {name!r} must be a finite number")
    if isinstance(value, str) and not _is_sendable(value):
        raise InvalidInput(f"extra_fields: {name!r} must be a text of at most {_MAX_TEXT} characters")
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise InvalidInput(f"extra_fields: {name!r} must be a whole number of at most {_MAX_BITS} bits")
    return name, value


def _is_sendable(text: str) -> bool:
    # half of a surrogate pair cannot be encoded
    return len(text) <= _MAX_TEXT and "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def send_extra_fields(flow: Flow, job: Job) -> Flow:
    """Return the flow of a submission whose paid request has the extra fields of the job, too.

    The flow itself if there are none. Raises InvalidInput for a field that the request has already, and Unsupported if
    the request takes no fields.
    """
    return _extend(flow, job.extra_fields) if job.extra_fields else flow


def _extend(flow: Flow, extra_fields: Mapping[str, ExtraValue]) -> Flow:
    try:
        step = next(flow)
        while True:
            if isinstance(step, Request) and not step.repeatable:
                step = _with_fields(step, extra_fields)
            step = flow.send((yield step))
    except StopIteration as end:
        snapshot: Snapshot = end.value
        return snapshot
    finally:
        flow.close()


def _with_fields(request: Request, extra_fields: Mapping[str, ExtraValue]) -> Request:
    match request.body:
        case Json(value=known):
            body: Json | Multipart = Json({**known, **extra_fields})
        case Multipart(fields=known):
            texts = {name: _as_text(value) for name, value in extra_fields.items()}
            body = evolve(request.body, fields={**known, **texts})
        case _:
            raise Unsupported("this request has no form and no JSON to which extra_fields could be added")
    taken = {name.casefold() for name in known} & {name.casefold() for name in extra_fields}
    if taken:
        names = ", ".join(sorted(taken))
        raise InvalidInput(f"extra_fields must not replace {names}: use the argument or the option for it")
    return evolve(request, body=body)


def _as_text(value: ExtraValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
