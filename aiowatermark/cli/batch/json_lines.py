"""JSON lines of --json: one object per line, of the version in its field `v` (documented in docs/command-line.md).

Fields are added without a new version; one that is removed, or means something else, gets a new version.
"""

from __future__ import annotations

import json
from typing import Any

from ... import Charge
from .items import BatchItem, Outcome, Plan

VERSION = 1


def outcome_line(outcome: Outcome) -> str:
    """Return the line of an item that has ended."""
    return json_line(
        media=outcome.source,
        output=str(outcome.output) if outcome.output else None,
        status=outcome.status.value,
        saved_before=outcome.saved_before,
        error=outcome.error,
        key=outcome.key,
        token=outcome.token,
        provider=outcome.provider,
        seconds=round(outcome.seconds, 3),
        charge=_charge(outcome.charge),
        note=outcome.remark or None,
    )


def plan_line(item: BatchItem, refusal: str | None) -> str:
    """Return the line of an item in a dry run; `refusal` is why it would not be submitted."""
    plan = item.plan or Plan.REFUSED
    return json_line(
        media=item.source,
        output=str(item.output) if item.output else None,
        plan=(Plan.REFUSED if refusal else plan).value.replace(" ", "_"),
        error=refusal,
        key=item.key or None,
    )


def json_line(**fields: Any) -> str:
    """Return an object as a line, with its version first."""
    return json.dumps({"v": VERSION, **fields})


def _charge(charge: Charge | None) -> dict[str, Any] | None:
    return None if charge is None else {"credits": charge.credits, "source": charge.source}
