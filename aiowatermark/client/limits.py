"""How much a client does at once."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from ..errors import InvalidInput


def _validate_positive(_: Any, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
        raise InvalidInput(f"{attribute.name} is a number above 0, not {value!r}")


@frozen
class Limits:
    """`submissions` and `transfers` at once, `in_flight` jobs alive; `requests_per_second` None: the provider's own."""

    submissions: int = field(default=16, validator=_validate_positive)
    in_flight: int = field(default=1000, validator=_validate_positive)
    transfers: int = field(default=8, validator=_validate_positive)
    requests_per_second: float | None = field(default=None, validator=_validate_positive)


def validate_deadline(deadline: float) -> float:
    """A deadline; raises InvalidInput for what is no time."""
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not deadline > 0:
        raise InvalidInput(f"deadline is a number of seconds above 0, not {deadline!r}")
    return float(deadline)
