"""Accounts: the key, the balance and the number of charges that each emulated provider keeps for its customer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from attrs import define, field

from ..web.request_log import note_charges
from ..web.responses import ApiError, ErrorReason

Credential = str | tuple[str, str]


@define
class Account:
    """One customer of one provider; `charges` counts those that were not refunded."""

    key: Credential = field(repr=False)
    credits: float = 1000
    spent: float = 0
    charges: int = 0
    refunds: int = 0

    @property
    def remaining(self) -> float:
        """Return the balance in credits."""
        return self.credits - self.spent

    def charge(self, credits_: float = 1) -> None:
        """Make one charge. Raises ApiError when the balance is zero or too low, and charges nothing then."""
        # the first condition refuses a charge of 0 as well: a video's price is unknown when it is started
        if self.remaining <= 0 or self.remaining < credits_:
            raise ApiError(ErrorReason.CREDITS, "Insufficient credits.")
        self.spent += credits_
        self.charges += 1
        note_charges(1)

    def deduct(self, credits_: float) -> None:
        """Take the price of something that was charged while its price was unknown; counts no further charge."""
        self.spent += credits_

    def refund(self, credits_: float = 1, times: int = 1) -> None:
        """Refund `times` charges of `credits_` each."""
        self.spent -= credits_ * times
        self.charges -= times
        self.refunds += times
        note_charges(-times)


class ApiKeys(dict[str, Credential]):
    """Provider name to key, or to (app key, secret); its repr shows the names only."""

    def __repr__(self) -> str:
        return f"ApiKeys({', '.join(sorted(self))})"


def create_keys(has_secret: Mapping[str, bool], chosen: Mapping[str, Credential] | None) -> ApiKeys:
    """Return the chosen keys and a random one for every other provider.

    `has_secret`: provider name to whether its key is a pair of app key and secret. Raises ValueError when a key was
    chosen for an unknown provider.
    """
    keys = dict(chosen or {})
    if unknown := keys.keys() - has_secret.keys():
        raise ValueError(
            f"No such provider: {', '.join(sorted(unknown))}; valid names are {', '.join(sorted(has_secret))}."
        )
    return ApiKeys({name: keys.get(name) or _random_key(paired=paired) for name, paired in has_secret.items()})


def _random_key(*, paired: bool) -> Credential:
    return (secrets.token_hex(8), secrets.token_hex(16)) if paired else secrets.token_hex(20)
