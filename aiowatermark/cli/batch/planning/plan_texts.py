"""What a run finds of its inputs and is going to pay for, in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..items import BatchItem, Plan
from .prices import Prices, describe_repeated

_TO_BE_SAVED = "to be saved"


def describe_plans(items: Sequence[BatchItem], prices: Prices | None = None) -> str:
    """Return what a run finds: `12 done before, 3 continue, 5 new`; with prices, what is new and where it is paid."""
    counts = Counter(_name_of(item) for item in items)
    names = [Plan.DONE.value, _TO_BE_SAVED, *(plan.value for plan in Plan if plan is not Plan.DONE)]
    words = {name: f"{counts[name]} {name}" for name in names if counts[name]}
    new = [item for item in items if item.plan is Plan.NEW]
    if new and prices is not None:
        words[Plan.NEW.value] = describe_new(new, prices)
    return ", ".join(words.values()) or "no inputs"


def describe_new(new: Sequence[BatchItem], prices: Prices) -> str:
    """Return how many inputs go to which provider, and what they cost: `5 new at Kaze, about 5 credits (…)`."""
    jobs = list({item.key or item: item for item in new}.values())
    cost = prices.describe_sum(jobs, "up to ")
    return f"{len(new)} new at {prices.provider.display_name}{describe_repeated(new)}{cost and f', {cost}'}"


def describe_stdin(prices: Prices) -> str:
    """Return what each input costs and where, for a list on stdin: their number is not known beforehand."""
    price = prices.describe_each()
    return f"each new input is paid at {prices.provider.display_name}{price and f': {price}'}"


def _name_of(item: BatchItem) -> str:
    """Return the name of an item's plan; one whose result is only fetched or copied does not continue at a provider."""
    if item.plan is Plan.OPEN and (item.ended_before or item.elsewhere):
        return _TO_BE_SAVED
    return (Plan.REFUSED if item.plan is None else item.plan).value
