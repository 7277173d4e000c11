"""Prices: what jobs will cost, as far as that is known before they are submitted.

    known from                              said as
    the documents of the provider           3 credits (1 for an image)
    earlier jobs of the output folder       about 3 credits (earlier images cost 1 each on average)
    neither                                 not known

Earlier jobs count if a job of this run costs the same: those of the same provider and address, with the same options,
and images for an image, videos for a video. Few providers document a price, and none that of a video: its length
counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from .... import Provider, as_media
from ....media.sniff import has_video_suffix
from ...console.texts import count_text
from ..items import BatchItem, Plan
from ..output_folder import OutputFolder


@frozen
class Price:
    """What one image or video costs, in credits: documented, or the average of earlier ones."""

    credits: float
    is_documented: bool

    def describe(self, name: str, unit: str = "") -> str:
        """Return `1 for an image` or `earlier images cost 1 each on average`, with `unit` after the number."""
        amount = f"{format_amount(self.credits)}{unit}"
        return f"{amount} for an {name}" if self.is_documented else f"earlier {name}s cost {amount} each on average"


@frozen
class Prices:
    """What an image and a video cost with the options of a run; None where that is not known."""

    provider: Provider
    image: Price | None
    video: Price | None

    def describe_each(self) -> str:
        """Return what each input costs, where that is known: `1 credit for an image`; empty if nothing is."""
        known = [(name, price) for name, price in (("image", self.image), ("video", self.video)) if price is not None]
        units = [" credit" if format_amount(price.credits) == "1" else " credits" for _, price in known]
        return ", ".join(price.describe(name, unit) for (name, price), unit in zip(known, units, strict=True))

    def describe_sum(self, items: Sequence[BatchItem], bound: str = "") -> str:
        """Return what inputs cost together: `3 credits (1 for an image)`; empty if nothing is known of them.

        `bound` is put before a sum of documented prices.
        """
        videos = sum(map(_is_video, items))
        counted = (("image", len(items) - videos, self.image), ("video", videos, self.video))
        known = [(name, number, price) for name, number, price in counted if number and price is not None]
        if not known:
            return ""
        unknown = [count_text(number, name) for name, number, price in counted if number and price is None]
        total = format_credits(sum(number * price.credits for _, number, price in known))
        word = bound if all(price.is_documented for _, _, price in known) else "about "
        rest = f" and the price of {unknown[0]}" if unknown else ""
        return f"{word}{total}{rest} ({', '.join(price.describe(name) for name, _, price in known)})"


async def find_prices(provider: Provider, options: Mapping[str, Any], outputs: OutputFolder) -> Prices:
    """Return what the jobs of a run cost, as far as the provider documents it or the folder knows it."""
    documented = provider.image_price(options)
    image = None if documented is None else Price(documented, is_documented=True)
    averages = [await outputs.average_charge(_cost_group(provider, options, video=video)) for video in (False, True)]
    earlier = [None if average is None else Price(average, is_documented=False) for average in averages]
    return Prices(provider, image or earlier[0], earlier[1])


def cost_group_of(provider: Provider, options: Mapping[str, Any], source: str) -> str:
    """Return under which name the folder remembers what a job cost: equal for jobs that should cost the same."""
    return _cost_group(provider, options, video=has_video_suffix(as_media(source)))


def _cost_group(provider: Provider, options: Mapping[str, Any], *, video: bool) -> str:
    resolved = sorted(provider.resolve_options(options).items())
    text = json.dumps([provider.base_url, video, resolved], default=str)
    return f"{provider.name} {hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"


def describe_cost(prices: Prices, items: Sequence[BatchItem], *, at: str = "") -> str:
    """Return how many jobs are to be paid and what they cost: `5 jobs, 5 credits (1 for an image)`.

    `at` is put after the number of jobs.
    """
    new = [item for item in items if item.plan is Plan.NEW]
    jobs = list({item.key: item for item in new}.values())
    text = f"{count_text(len(jobs), 'job')}{at}{describe_repeated(new)}"
    if not jobs:
        return text
    if cost := prices.describe_sum(jobs):
        return f"{text}, {cost}"
    it = "it costs" if len(jobs) == 1 else "they cost"
    reason = "" if prices.image is not None else f", as {prices.provider.display_name} documents no price"
    return f"{text}; what {it} is not known{reason or ' beforehand'}"


def describe_repeated(items: Sequence[BatchItem]) -> str:
    """Return how many of these inputs are paid with another one of the same content; empty for none."""
    repeated = len(items) - len({item.key or item for item in items})
    if not repeated:
        return ""
    words = "input has the same content as another" if repeated == 1 else "inputs have the same content as others"
    return f" ({repeated} {words})"


def format_amount(amount: float) -> str:
    """Return a number of credits with two decimals at most; what is not free is never shown as 0."""
    shown = f"{max(amount, 0.01) if amount > 0 else amount:.2f}"
    return shown.rstrip("0").rstrip(".")


def format_credits(amount: float) -> str:
    """Return an amount of credits, rounded."""
    shown = format_amount(amount)
    return f"{shown} credit{'' if shown == '1' else 's'}"


def _is_video(item: BatchItem) -> bool:
    return has_video_suffix(as_media(item.source))
