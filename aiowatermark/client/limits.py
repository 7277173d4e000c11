"""How much a client does concurrently, and how long it waits."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen
from attrs.validators import optional

from ..errors import InvalidInput
from ..introspection import documented
from ..transport.retry import MAX_HINT


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _validate_count(_: Any, attribute: Attribute[Any], value: Any) -> None:
    if not _is_number(value) or not isinstance(value, int) or value <= 0:
        raise InvalidInput(f"{attribute.name} must be a whole number above 0, not {value!r}")


def _validate_positive(_: Any, attribute: Attribute[Any], value: Any) -> None:
    positive_number(value, attribute.name)


@documented
@frozen
class Limits:
    """How much one client does concurrently, and how long it lets a server keep it waiting.

    Args:
        submissions: paid requests in flight.
        in_flight: jobs that run; further ones are queued.
        transfers: downloads of results.
        requests_per_second: requests to the API, submissions and polls together; None uses the provider's own limit.
        max_retry_after: seconds that a server may ask to wait (`Retry-After`, `wait_time`); a longer wait is cut.

    Raises InvalidInput for a value that is not above 0.
    """

    submissions: int = field(default=16, validator=_validate_count)
    in_flight: int = field(default=1000, validator=_validate_count)
    transfers: int = field(default=8, validator=_validate_count)
    requests_per_second: float | None = field(default=None, validator=optional(_validate_positive))
    max_retry_after: float = field(default=MAX_HINT, validator=_validate_positive)


def positive_number(value: Any, name: str, *, zero: bool = False) -> float:
    """Return a number above 0 (`zero`: or 0) as a float; raises InvalidInput for anything else."""
    # in this form it is false for NaN
    if not _is_number(value) or not (value > 0 or (zero and value == 0)):
        raise InvalidInput(f"{name} must be a number {'of at least' if zero else 'above'} 0, not {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise InvalidInput(f"{name} is too large a number") from None


def validate_deadline(deadline: float) -> float:
    """The deadline in seconds; raises InvalidInput if it is not a number above 0."""
    return positive_number(deadline, "deadline")
