"""Rows of the HTML report, made of the outcomes of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ... import provider_class
from ...observation.commands import preparation_lines
from ...tokens import decode_token
from ..advice.settlements import settlement_lines
from ..console.texts import shown_name
from ..report.rows import ReportRow
from .items import ItemStatus, Outcome
from .request import BatchRequest


def row_of(outcome: Outcome, request: BatchRequest | None = None) -> ReportRow:
    """Return the row of an item that has ended; with the request, it says how a doubt is settled."""
    return ReportRow(
        shown_name(outcome.source),
        None if "://" in outcome.source else Path(outcome.source),
        outcome.output,
        "done before" if outcome.saved_before else outcome.status.value.replace("_", " "),
        provider_class(outcome.provider).display_name,
        seconds=None if outcome.saved_before else outcome.seconds,
        charge=None if outcome.charge is None else outcome.charge.credits,
        cost_unknown=outcome.may_be_paid and outcome.charge is None,
        error=outcome.problem,
        note=outcome.remark,
        advice=() if request is None else tuple(_advice(outcome, request)),
    )


def _advice(outcome: Outcome, request: BatchRequest) -> Iterator[str]:
    """Yield how the doubt about a job is settled, if there is one: a job that was stopped may be in doubt, too."""
    without_task = outcome.token is None or decode_token(outcome.token).task_id is None
    if outcome.status is not ItemStatus.IN_DOUBT and not (outcome.status is ItemStatus.UNFINISHED and without_task):
        return
    yield f"It may have been paid: look for it in your account at {request.title}."
    if outcome.key and request.store:
        yield from settlement_lines([(outcome.source, outcome.key)], request.account, request.commands)
        yield from preparation_lines(*request.notes)
