"""Rows of the HTML report, made of the items of a batch."""

from __future__ import annotations

from pathlib import Path

from ...redaction import redact_url
from ..console.runner import error_text
from ..report.rows import ReportRow
from .workers import CANCELLED, BatchItem


def row_of(item: BatchItem, provider: str) -> ReportRow:
    """Return the row of an item that has ended; `provider` is the provider's display name."""
    status = "cancelled" if item.status == CANCELLED else item.status
    return ReportRow(
        redact_url(item.source) if "://" in item.source else item.source,  # the query may hold a signature
        None if "://" in item.source else Path(item.source),
        item.output,
        "already done" if item.already_saved else status,
        provider,
        seconds=None if item.already_saved else item.seconds,
        # results do not tell their charge yet
        charge=None,
        error=None if item.error is None else error_text(item.error),
        note=item.remark,
    )
