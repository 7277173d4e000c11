"""What --again pays for: all inputs but those that cannot be submitted, and those whose job is at the provider."""

from __future__ import annotations

from collections.abc import Iterable

from ... import JobFailed
from ..advice.other_accounts import OpenElsewhere
from .items import BatchItem, ItemStatus, Plan


def is_paid_by_again(item: BatchItem) -> bool:
    """Whether --again submits an item: as it was planned, or, if it has ended, after this run."""
    if item.elsewhere or isinstance(item.error, OpenElsewhere):
        return True
    if item.status is None:
        return item.plan not in {None, Plan.OPEN, Plan.REFUSED}
    if item.status is ItemStatus.FAILED:
        return item.handle is None or isinstance(item.error, JobFailed)
    return item.status not in {ItemStatus.REFUSED, ItemStatus.UNFINISHED}


def describe_again(items: Iterable[BatchItem], total: int) -> str:
    """Return for how many of so many inputs --again pays; `items` has at least those for which it does not."""
    paid = total - sum(not is_paid_by_again(item) for item in items)
    return again_text(paid, total)


def again_text(paid: int, total: int) -> str:
    """Return that --again pays for some of so many inputs: `--again pays anew for all 4 files`."""
    if total == 1:
        return "--again pays anew for it"
    return f"--again pays anew for {f'all {total} files' if paid == total else f'{paid} of the {total} files'}"
