"""Advice: what an operator runs to settle a job in doubt, complete, so that it works as it is printed."""

from __future__ import annotations

from attrs import frozen

from ..jobs import Record
from .commands import AccountOptions, Commands


@frozen
class SettleAdvice:
    """Where the jobs of a client are settled from.

    `location` is what `--store` of the command line takes, None for a store that it cannot open: then the advice is
    Python. `base_url` is the provider's, if it is not the usual one.
    """

    location: str | None = None
    base_url: str | None = None

    def about(self, record: Record) -> str:
        """Return the three ways to settle the doubt about a job, of which the operator chooses one."""
        if self.location is None:
            choices = ("task_id='ID'", "paid=True", "paid=False")
            return "; ".join(f"await client.settle({record.key!r}, {choice})" for choice in choices)
        commands, account = Commands(self.location), AccountOptions(record.provider, base_url=self.base_url)
        notes = " and ".join(note for note in (commands.note, account.note) if note)
        return "; ".join(commands.settlements([record.key], account).values()) + (f" ({notes})" if notes else "")
