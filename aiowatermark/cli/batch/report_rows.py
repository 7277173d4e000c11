"""Rows of the HTML report, made of the outcomes of a batch."""

from __future__ import annotations

from pathlib import Path

from ... import provider_class
from ..console.texts import shown_name
from ..report.rows import ReportRow
from .items import Outcome


def row_of(outcome: Outcome, *, is_counted: bool = False) -> ReportRow:
    """Return the row of an item that has ended; `is_counted`: its job, and so its charge, is that of an earlier row."""
    charge = None if outcome.charge is None else 0.0 if is_counted else outcome.charge.credits
    return ReportRow(
        shown_name(outcome.source),
        None if "://" in outcome.source else Path(outcome.source),
        outcome.output,
        "done before" if outcome.saved_before else outcome.status.value.replace("_", " "),
        provider_class(outcome.provider).display_name,
        seconds=None if outcome.saved_before else outcome.seconds,
        charge=charge,
        error=outcome.error,
        note=outcome.remark,
    )
