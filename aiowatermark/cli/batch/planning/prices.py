"""Prices: what jobs will cost, as far as that is known before they are submitted.

Few providers document a price. Where one does, the provider knows it; else the average of the earlier jobs of an output
folder is used, if their provider told what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .... import Provider, as_media
from ....media.sniff import has_video_suffix
from ..items import BatchItem, Plan, format_credits
from ..output_folder import OutputFolder


def describe_price(provider: Provider, options: Mapping[str, Any], items: Sequence[BatchItem]) -> str:
    """Return what these inputs cost at most, where a price is documented: `up to 3 credits (1 for an image)`."""
    images = sum(not has_video_suffix(as_media(item.source)) for item in items if not item.problem)
    documented = provider.image_price(options)
    if documented is None or not images:
        return ""
    rest = " and the price of the videos" if images < len(items) else ""
    return f"up to {format_credits(images * documented)}{rest} ({documented:g} for an image)"


async def describe_cost(
    provider: Provider, options: Mapping[str, Any], items: Sequence[BatchItem], outputs: OutputFolder
) -> str:
    """Return how many jobs are to be paid and what they cost: `5 jobs, 5 credits (1 each)`."""
    # the same content under two names is one job
    jobs = {item.key: item for item in items if item.plan is Plan.NEW}
    videos = sum(has_video_suffix(as_media(item.source)) for item in jobs.values())
    text = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
    if not jobs:
        return text
    documented = provider.image_price(options)
    if documented is not None:
        rest = f" and the price of {videos} video{'' if videos == 1 else 's'}" if videos else ""
        return f"{text}, {format_credits((len(jobs) - videos) * documented)}{rest} ({documented:g} for an image)"
    average = await outputs.average_charge(provider.name)
    if average is not None:
        return f"{text}, about {format_credits(len(jobs) * average)} (earlier ones cost {average:.3g} each on average)"
    return f"{text}; what they cost is not known, as {provider.display_name} documents no price"
