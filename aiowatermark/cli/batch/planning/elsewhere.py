"""Jobs of other accounts: what was done under another API key, account name or base URL is not paid again.

    the output folder, under another account    this run
    has the result                              takes it as done before, or copies it for another name
    no result; sent, and it has not failed      refuses the input: the result can be fetched, at no further cost
    no result; not sent, or failed              submits it

Results of an emulator, which is on loopback, are no results for a provider that is not. --again pays anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from .... import InvalidInput, JobStore, Status
from ....jobs import Record
from ....redaction import is_loopback
from ...console.texts import printable
from ..items import BatchItem, Plan
from ..manifest import Work
from ..output_folder import OutputFolder
from .job_keys import key_in_round

_MAX_NAMED = 3
# what an account without a name is called: the provider and a digest of the key
_UNNAMED = re.compile(r"[a-z0-9]+-[0-9a-f]{24}")


async def find_elsewhere(item: BatchItem, work: Work, outputs: OutputFolder, store: JobStore | None) -> Plan:
    """Return the plan of an item that is new for this account; raises InvalidInput if another one has sent it."""
    sent: tuple[Work, Record] | None = None
    for other in await outputs.find_works(work.content):
        if other.base == work.base or (_is_local(other) and not _is_local(work)):
            continue
        key = key_in_round(other.base, (await outputs.round_of(other.base))[0])
        if (plan := await _find_result(item, key, outputs)) is not None:
            item.elsewhere = _name_of(other, work)
            return plan
        record = None if store is None else await store.get(key)
        if record is not None and not record.unsent and record.snapshot.status is not Status.FAILED:
            sent = sent or (other, record)
    if sent is not None:
        raise InvalidInput(_explain(*sent, work))
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
    names = [item.elsewhere for item in items if item.elsewhere]
    if not names:
        return ""
    distinct = list(dict.fromkeys(names))
    named = ", ".join(distinct[:_MAX_NAMED]) + (" and others" if len(distinct) > _MAX_NAMED else "")
    return (
        f"{len(names)} of these {'was' if len(names) == 1 else 'were'} done here under another account ({named}): "
        "the results are kept; --again pays anew"
    )


def _explain(other: Work, record: Record, work: Work) -> str:
    base_url = "" if other.base_url == work.base_url else f" --base-url {other.base_url}"
    return (
        f"was sent under another account ({_name_of(other, work)}) and its result is not here. To fetch it, with a key "
        f"of that account: `aiowatermark resume KEY --provider {record.provider} -o DIR --account {other.account}"
        f"{base_url}`, KEY is {record.key}. --again pays anew"
    )


def _name_of(other: Work, work: Work) -> str:
    """Return how a user may know the account of another job: its base URL, its name, or that its key is another."""
    if other.base_url != work.base_url:
        return printable(other.base_url)
    return "another API key" if _UNNAMED.fullmatch(other.account) else f"--account {printable(other.account)}"


def _is_local(work: Work) -> bool:
    return is_loopback(urlsplit(work.base_url).hostname)
