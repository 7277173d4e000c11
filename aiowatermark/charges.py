"""Charge: what a job cost, and where that is known from."""

from __future__ import annotations

from math import isfinite
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

from .errors import InvalidInput
from .introspection import documented

ChargeSource = Literal["answer", "price list", "balance"]
"""Where the amount of a charge is from; see `Charge`."""


def _validate_credits(_: Any, __: Attribute[float], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (isfinite(value) and value >= 0):
        raise InvalidInput(f"credits must be a number of at least 0, not {value!r}")


def _validate_source(_: Any, __: Attribute[ChargeSource], value: Any) -> None:
    if value not in get_args(ChargeSource):
        raise InvalidInput(f"source must be one of {', '.join(get_args(ChargeSource))}, not {value!r}")


@documented
@frozen
class Charge:
    """What a job cost.

    Args:
        credits: the amount, in the provider's credits; 0 for a job that was not charged or is refunded.
        source: "answer": the provider's answer says so; "price list": by the price in the provider's documents;
            "balance": the difference of two balances. The SDK makes no charge of balances: another job of the account
            may have been charged between the two.

    Raises InvalidInput for an amount below 0 or another source.
    """

    credits: float = field(validator=_validate_credits)
    source: ChargeSource = field(validator=_validate_source)
