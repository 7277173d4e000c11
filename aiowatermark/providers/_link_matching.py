"""Matches the results of a batch with its inputs by the URLs that the provider repeats.

Links are compared whole first, then without their signatures, then without their queries, each time only those that
are not matched yet. Links that are equal without their queries alone may still be different images: where more than
one input comes into question, nothing is matched, and the results are ambiguous.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attrs import frozen

from ..media.signatures import LinkIdentity


@frozen
class Match:
    """For each input the index of its item, None without one; the items that are left over.

    `ambiguous`: one of these repeats the URL of an input, so that none of them may be assigned by position.
    """

    items: tuple[int | None, ...]
    unmatched: tuple[int, ...]
    ambiguous: bool


def match_by_link(items: Sequence[str | None], inputs: Sequence[str]) -> Match:
    """Match items with inputs by their identities as `LinkIdentity` writes them; None: the item repeats no URL.

    Inputs with the same link share an item if there are fewer items than inputs.
    """
    links = {index: LinkIdentity.parse(text) for index, text in enumerate(items) if text is not None}
    sources = [LinkIdentity.parse(text) for text in inputs]
    found: dict[int, int] = {}
    for level in ("whole", "unsigned"):
        _assign(found, links, sources, level)
    _assign_by_address(found, links, sources)
    unmatched = tuple(index for index in range(len(items)) if index not in found.values())
    addresses = {source.bare for source in sources}
    ambiguous = any(index in links and links[index].bare in addresses for index in unmatched)
    return Match(tuple(found.get(position) for position in range(len(inputs))), unmatched, ambiguous)


def _assign(found: dict[int, int], links: dict[int, LinkIdentity], sources: Sequence[LinkIdentity], level: str) -> None:
    """Assign to each input that has no item yet the next one with the same link at a level."""
    free: dict[str, list[int]] = defaultdict(list)
    for index, link in links.items():
        if index not in found.values():
            free[getattr(link, level)].append(index)
    last: dict[str, int] = {}
    for position, source in enumerate(sources):
        value = getattr(source, level)
        if position in found or not value:
            continue
        if free[value]:
            last[value] = free[value].pop(0)
        if value in last:
            found[position] = last[value]


def _assign_by_address(found: dict[int, int], links: dict[int, LinkIdentity], sources: Sequence[LinkIdentity]) -> None:
    """Assign items whose links differ from those of the inputs in their queries, where only one input can be meant."""
    free: dict[str, dict[int, LinkIdentity]] = defaultdict(dict)
    for index, link in links.items():
        if index not in found.values():
            free[link.bare][index] = link
    for address, same in free.items():
        positions = [position for position, source in enumerate(sources) if source.bare == address]
        meant = {sources[position] for position in positions}
        # records of version 0.1 do not tell links apart that differ in their queries: the repeated links must agree
        certain = len(positions) == 1 or any(source.whole for source in meant) or len(set(same.values())) == 1
        if len(meant) == 1 and certain:
            _assign(found, same, sources, "bare")
