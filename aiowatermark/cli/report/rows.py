"""Rows of a report: what is known of each job, kept within bounds however many jobs there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

from ..console.runner import printable

MAX_ROWS = 1000
"""Jobs that are done, and as many that are not, which a page shows: the first ones."""
MAX_PICTURES = 300
"""Jobs of which a page shows pictures: the first ones."""
_MAX_NAME = 300
_MAX_TEXT = 2000


def _cut(text: str, length: int) -> str:
    """Return a text by strangers as one printable line of at most so many characters."""
    return printable(text) if len(text) <= length else f"{printable(text[:length])}…"


def _to_name(text: str) -> str:
    return _cut(text, _MAX_NAME)


def _to_text(text: str | None) -> str:
    return _cut(text or "", _MAX_TEXT)


@frozen
class ReportRow:
    """One job. `before` and `after` are files on this machine; `charge` is in the provider's credits.

    `seconds`, `charge` and `error` may be None: there is none, or it is not known. `cost_unknown`: the job may have
    cost something, and it is not known what. `note` is a further remark. `name`, `error` and `note` may be texts of
    strangers: they are cut, and characters that cannot be printed are replaced.
    `advice` is what to do, in lines of which those that begin with two spaces are commands.
    """

    name: str = field(converter=_to_name)
    before: Path | None
    after: Path | None
    status: str
    provider: str
    seconds: float | None = None
    charge: float | None = None
    cost_unknown: bool = field(default=False, kw_only=True)
    error: str = field(default=None, converter=_to_text)
    note: str = field(default="", converter=_to_text)
    advice: Sequence[str] = ()

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.after is not None


@define(eq=False)
class ReportRows:
    """Collects the rows of one run. Counts all, keeps the first MAX_ROWS that are done and as many that are not."""

    statuses: Counter[str] = field(factory=Counter, init=False)
    charges: float = field(default=0.0, init=False)
    with_charge: int = field(default=0, init=False)
    cost_unknown: int = field(default=0, init=False)
    left_out: Counter[bool] = field(factory=Counter, init=False)
    done: int = field(default=0, init=False)
    kept: list[ReportRow] = field(factory=list, init=False)

    @classmethod
    def of(cls, rows: Iterable[ReportRow]) -> Self:
        """Return these rows."""
        collected = cls()
        for row in rows:
            collected.add(row)
        return collected

    def add(self, row: ReportRow) -> None:
        """Count a row, and keep it if there is room."""
        position = self.done if row.done else self.total - self.done
        self.statuses[row.status] += 1
        self.done += row.done
        self.cost_unknown += row.cost_unknown
        if row.charge is not None:
            self.charges += row.charge
            self.with_charge += 1
        if position < MAX_ROWS:
            self.kept.append(row)
        else:
            self.left_out[row.done] += 1

    @property
    def providers(self) -> list[str]:
        """The names of the providers of the kept rows, sorted."""
        return sorted({row.provider for row in self.kept})

    @property
    def total(self) -> int:
        """The number of rows, including those left out."""
        return self.statuses.total()
