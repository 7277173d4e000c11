"""What each provider knows of its customer: the key, the credits left, how often something was charged."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from attrs import define, field

from ..web.responses import ApiError, ErrorReason

Credential = str | tuple[str, str]


@define
class Account:
    """One customer of one provider."""

    key: Credential = field(repr=False)
    credits: float = 1000
    spent: float = 0
    charges: int = 0
    refunds: int = 0

    @property
    def remaining(self) -> float:
        """The credits that are left."""
        return self.credits - self.spent

    def charge(self, credits_: float = 1) -> None:
        """Count one charge. Raises Refusal when there are no credits left for it."""
        if self.remaining <= 0 or self.remaining < credits_:
            raise ApiError(ErrorReason.CREDITS, "Insufficient credits.")
        self.spent += credits_
        self.charges += 1

    def settle(self, credits_: float) -> None:
        """Spend what turned out to be the price of something charged before."""
        self.spent += credits_

    def refund(self, credits_: float = 1, times: int = 1) -> None:
        """Take charges back."""
        self.spent -= credits_ * times
        self.charges -= times
        self.refunds += times


class ApiKeys(dict[str, Credential]):
    """Provider name to key, or to (app key, secret); none of them shows in its repr."""

    def __repr__(self) -> str:
        return f"Keys({', '.join(sorted(self))})"


def new_keys(names: Mapping[str, bool], given: Mapping[str, Credential] | None) -> ApiKeys:
    """A random key for each name that was given none; True stands for an app key with a secret."""
    chosen = dict(given or {})
    if unknown := chosen.keys() - names.keys():
        raise ValueError(f"No such provider: {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}.")
    return ApiKeys({name: chosen.get(name) or _random(paired=paired) for name, paired in names.items()})


def _random(*, paired: bool) -> Credential:
    return (secrets.token_hex(8), secrets.token_hex(16)) if paired else secrets.token_hex(20)
