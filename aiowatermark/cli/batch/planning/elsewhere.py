"""Jobs of other accounts: what was done under another API key, account name or base URL is not paid again.

    the output folder, under another account    this run
    has the result                              takes it as done before, or copies it for another name
    no result; sent, and it has not failed      refuses the input: the result can be fetched, at no further cost
    no result; settled as paid                  reports it as paid and lost
    no result; not sent, or failed              submits it

Results of an emulator, which is on loopback, are no results for a provider that is not. --again pays anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from .... import JobStore, Provider, Status
from ....client.engine.settle import settled_paid
from ....jobs import Record
from ....redaction import is_loopback
from ...advice.accounts import account_of_record, describe_account
from ...advice.other_accounts import OpenElsewhere, OtherAccount, place_of
from ..advice import describe_again
from ..items import BatchItem, Plan
from ..manifest import Work
from ..output_folder import OutputFolder
from .job_keys import key_in_round

_MAX_NAMED = 3


async def find_elsewhere(
    item: BatchItem, work: Work, outputs: OutputFolder, store: JobStore | None, provider: Provider
) -> Plan:
    """Return the plan of an item that is new for this account; raises OpenElsewhere if another one has sent it."""
    sent: tuple[Work, Record] | None = None
    lost: Record | None = None
    for other in await outputs.find_works(work.content):
        if other.base == work.base or (_is_local(other) and not _is_local(work)):
            continue
        key = key_in_round(other.base, (await outputs.round_of(other.base))[0])
        if (plan := await _find_result(item, key, outputs)) is not None:
            item.elsewhere = _name_of(other, provider)
            return plan
        record = None if store is None else await store.get(key)
        if record is None or record.unsent:
            continue
        if record.snapshot.status is not Status.FAILED:
            sent = sent or (other, record)
        elif settled_paid(record):
            lost = lost or record
    if sent is not None:
        other, record = sent
        item.key = record.key
        options = account_of_record(record, other.base_url)
        raise OpenElsewhere(record, OtherAccount(options, _name_of(other, provider)))
    if lost is not None:
        item.key, item.ended_before = lost.key, True
        return Plan.LOST
    return Plan.NEW


async def _find_result(item: BatchItem, key: str, outputs: OutputFolder) -> Plan | None:
    """Take the result that the folder has under a key, if there is one: as it is, or to be copied."""
    saved = await outputs.find_saved(key, item.identity)
    if saved is not None:
        item.key, item.output, item.saved_before = key, saved, True
        return Plan.DONE
    if await outputs.find_saved_for_any(key) is None:
        return None
    item.key = key
    return Plan.OPEN


def describe_elsewhere(items: Sequence[BatchItem]) -> str:
    """Return the line that says what other accounts have done; empty for nothing."""
    counts = Counter(item.elsewhere for item in items if item.elsewhere)
    return describe_counts(counts, describe_again(items, len(items)))


def describe_counts(counts: Mapping[str, int], again: str) -> str:
    """Return that line for so many inputs of each account, by its description; `again` says what --again does."""
    if not counts:
        return ""
    total = sum(counts.values())
    named = ", ".join(map(place_of, list(counts)[:_MAX_NAMED])) + (" and others" if len(counts) > _MAX_NAMED else "")
    return (
        f"{total} of these {'was' if total == 1 else 'were'} done here {named}: "
        f"the result{' is' if total == 1 else 's are'} kept; {again}"
    )


def _name_of(other: Work, provider: Provider) -> str:
    """Return how a user may know the account of another job: by its address, its name, or that its key is another."""
    return describe_account(Record(other.base, provider.name, account=other.account), provider, other.base_url)


def _is_local(work: Work) -> bool:
    return is_loopback(urlsplit(work.base_url).hostname)
