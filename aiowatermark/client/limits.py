"""How much a client does concurrently."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from ..errors import InvalidInput
from ..introspection import documented


def _validate_positive(_: Any, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
        raise InvalidInput(f"{attribute.name} must be a number above 0, not {value!r}")


@documented
@frozen
class Limits:
    """How much one client does concurrently.

    Args:
        submissions: paid requests in flight.
        in_flight: jobs that run; further ones are queued.
        transfers: downloads of results.
        requests_per_second: requests to the API, submissions and polls together; None uses the provider's own limit.

    Raises InvalidInput for a value that is not above 0.
    """

    submissions: int = field(default=16, validator=_validate_positive)
    in_flight: int = field(default=1000, validator=_validate_positive)
    transfers: int = field(default=8, validator=_validate_positive)
    requests_per_second: float | None = field(default=None, validator=_validate_positive)


def validate_deadline(deadline: float) -> float:
    """The deadline in seconds; raises InvalidInput if it is not a number above 0."""
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not deadline > 0:
        raise InvalidInput(f"deadline must be a number of seconds above 0, not {deadline!r}")
    return float(deadline)
