"""For which inputs --again pays: all but those that cannot be submitted, and those whose job is at the provider."""

from __future__ import annotations

from typing import cast

import pytest

from aiowatermark import InvalidInput, JobFailed, JobHandle, JobNotFound, WatermarkError
from aiowatermark.cli.advice.other_accounts import OpenElsewhere, OtherAccount
from aiowatermark.cli.batch.advice import again_text, describe_again, is_paid_by_again
from aiowatermark.cli.batch.items import BatchItem, ItemStatus, Plan
from aiowatermark.jobs import Record
from aiowatermark.observation.commands import AccountOptions

ELSEWHERE = OpenElsewhere(Record("key", "kaze"), OtherAccount(AccountOptions("kaze"), "another address (http://host)"))
_HANDLE = cast("JobHandle", object())


@pytest.mark.parametrize(
    ("plan", "is_paid"), [(plan, plan not in {Plan.OPEN, Plan.REFUSED}) for plan in Plan] + [(None, False)]
)
def test_of_planned_inputs_what_is_refused_or_at_the_provider_is_not_paid(plan: Plan | None, is_paid: bool) -> None:
    assert is_paid_by_again(BatchItem("a.jpg", plan=plan)) is is_paid


@pytest.mark.parametrize(
    ("status", "error", "is_paid"),
    [
        (ItemStatus.REFUSED, InvalidInput("not an image"), False),
        (ItemStatus.ELSEWHERE, ELSEWHERE, True),
        (ItemStatus.FAILED, JobFailed("failed"), True),
        (ItemStatus.FAILED, JobNotFound("unknown"), True),
        (ItemStatus.FAILED, WatermarkError("the result is at the provider"), False),
        (ItemStatus.UNSAVED, WatermarkError("the disk is full"), False),
        (ItemStatus.UNFINISHED, None, False),
        (ItemStatus.IN_DOUBT, None, True),
        (ItemStatus.LOST, None, True),
    ],
)
def test_of_ended_inputs_those_whose_job_has_a_result_to_fetch_are_not_paid(
    status: ItemStatus, error: Exception | None, is_paid: bool
) -> None:
    assert is_paid_by_again(BatchItem("a.jpg", status=status, error=error, handle=_HANDLE)) is is_paid


def test_the_number_is_that_of_all_inputs_or_of_some_of_them() -> None:
    refused = BatchItem("a.jpg", plan=Plan.REFUSED)
    assert describe_again([refused], 4) == "--again pays anew for 3 of the 4 files"
    assert describe_again([], 4) == "--again pays anew for all 4 files"
    assert again_text(1, 1) == "--again pays anew for it"
