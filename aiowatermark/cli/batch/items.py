"""Items of a batch while they are worked on, and their outcomes afterwards."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from attrs import define, evolve, field, frozen

from ... import Charge, Credits, JobFailed, JobHandle, Status, SubmissionInDoubt, WatermarkError
from ..console.problems import problem_text
from ..console.runner import error_text
from .output_names import Target


class ItemStatus(StrEnum):
    """How an item ended; the values are printed by --json.

    DONE         the result is saved, or was saved by an earlier run
    REFUSED      not accepted, by the SDK or by the provider: no job was made, and nothing was paid
    ELSEWHERE    sent under another account, where its result is: this run neither continues it nor pays for it
    FAILED       the item has another error of its own; the other items are not affected
    UNSAVED      the job is paid and done, and its result could not be written
    LOST         settled as paid: its result cannot be fetched; it is not submitted again
    IN_DOUBT     the paid request was sent and has no answer: only the user's account shows whether it was paid
    UNFINISHED   the job is at the provider, or may be, and its deadline has passed or the run was stopped: its token is
                 reported if there is one
    UNSENT       never sent, or its upload is incomplete, so nothing was paid: the run was stopped, or the provider
                 refuses whatever this account sends
    """

    DONE = "done"
    REFUSED = "refused"
    ELSEWHERE = "elsewhere"
    FAILED = "failed"
    UNSAVED = "unsaved"
    LOST = "lost"
    IN_DOUBT = "in_doubt"
    UNFINISHED = "unfinished"
    UNSENT = "unsent"


COUNT_WORDS = {
    ItemStatus.REFUSED: "refused",
    ItemStatus.ELSEWHERE: "sent elsewhere",
    ItemStatus.FAILED: "failed",
    ItemStatus.UNSAVED: "not saved",
    ItemStatus.LOST: "paid and lost",
    ItemStatus.IN_DOUBT: "in doubt",
    ItemStatus.UNFINISHED: "open",
    ItemStatus.UNSENT: "not sent",
}
"""What the progress bar and the summary call so many items of a status that are not done."""


class Plan(StrEnum):
    """What the same command finds of an item in the store and the output folder, before anything is sent."""

    DONE = "done before"
    OPEN = "continue"
    NEW = "new"
    FAILED = "failed before"
    LOST = "paid and lost"
    IN_DOUBT = "in doubt"
    REFUSED = "refused"


class PaidAndLost(WatermarkError):
    """The job was settled as paid: its result cannot be fetched, and it is not submitted again."""

    def __init__(self) -> None:
        super().__init__("settled as paid: its result is lost")


@define(eq=False)
class BatchItem:
    """One input of a batch, and how far it has come; `status` is None until it has ended.

    `number` counts the inputs in the order in which they were given. `identity` and `target` are what the manifest
    knows the input by and the name of its result; `base` is the key without the round of --again, and `content` tells
    what is done, at whichever account. `plan` is None until the store was asked. `elsewhere` names the other account
    that has done it. `cost_group` names the jobs that should cost the same; empty if its options are not known.
    `ended_before`: the store knew how its job ended, so that an earlier run has said what it cost. `given` is the key
    or token of a job that is resumed.
    """

    source: str
    identity: str = ""
    target: Target = field(factory=lambda: Target("media"))
    problem: str = ""
    base: str = ""
    content: str = ""
    key: str = ""
    elsewhere: str = ""
    cost_group: str = ""
    plan: Plan | None = None
    given: str = ""
    number: int = 0
    start_called: bool = False
    saved_before: bool = False
    ended_before: bool = False
    handle: JobHandle | None = None
    output: Path | None = None
    error: Exception | None = None
    remark: str = ""
    charge: Charge | None = None
    status: ItemStatus | None = None
    started_at: float = field(factory=time.monotonic)
    seconds: float = 0.0

    @property
    def token(self) -> str | None:
        """The token that resumes the job; None if there is no job, or its upload is incomplete."""
        if self.handle is None:
            return getattr(self.error, "token", None)
        return None if self.upload_incomplete else self.handle.token

    @property
    def upload_incomplete(self) -> bool:
        """Whether its upload was started and is incomplete, so that nothing was paid."""
        return self.handle is not None and self.handle.snapshot.status is Status.UPLOADING

    @property
    def interrupted_status(self) -> ItemStatus:
        """Its status if it is left as it is now: UNFINISHED if it is or may be at the provider, else UNSENT."""
        started = self.start_called and not self.upload_incomplete
        return ItemStatus.UNFINISHED if started else ItemStatus.UNSENT


@frozen
class Outcome:
    """How one item of a batch ended.

    `source` is the input as it was given or found; `output` the file with its result, None without one. `provider` is
    the provider's name and `seconds` the time from the item's start to its end. `error` is the text of what failed.
    `saved_before`: an earlier run had saved it. `charge` is what the job cost, however it ended: None where that is
    not known, or where an earlier run has said it. `may_be_paid`: the job was accepted, or may have been, and no
    earlier run has said how it ended. `number` is the item's.
    `problem` is the error for the report page: with the answer, but of a failed job one sentence.
    """

    source: str
    output: Path | None
    status: ItemStatus
    provider: str
    seconds: float
    error: str | None = None
    key: str | None = None
    token: str | None = None
    remark: str = ""
    saved_before: bool = False
    charge: Charge | None = None
    may_be_paid: bool = False
    number: int = 0
    problem: str | None = None

    @classmethod
    def of(cls, item: BatchItem, provider: str) -> Outcome:
        """Return the outcome of an item that has ended."""
        error = error_text(item.error) if item.error is not None else None
        return cls(
            item.source,
            item.output,
            item.status or ItemStatus.UNSENT,
            provider,
            item.seconds,
            error,
            item.handle.key if item.handle else item.key or None,
            item.token,
            item.remark,
            item.saved_before,
            charge_of(item),
            may_be_paid(item),
            item.number,
            problem_text(item.error) if isinstance(item.error, JobFailed) else error,
        )


def charge_of(item: BatchItem) -> Charge | None:
    """Return what the job of an item cost, if that is known and no earlier run has said it.

    A job that failed may have cost money, and so has one whose result could not be saved.
    """
    if item.saved_before or item.ended_before:
        return None
    if item.charge is not None:
        return item.charge
    if isinstance(item.error, JobFailed) and item.error.snapshot is not None:
        return item.error.snapshot.charged
    return None if item.handle is None else item.handle.snapshot.charged


def may_be_paid(item: BatchItem) -> bool:
    """Whether the job of an item was accepted, or may have been, and no earlier run has said how it ended."""
    if item.saved_before or item.ended_before:
        return False
    if isinstance(item.error, JobFailed | SubmissionInDoubt):
        return True
    return item.handle is not None and not item.upload_incomplete


@define(eq=False)
class KnownCharges:
    """What the jobs of a run cost, as far as it is known. The same picture under two names is one job, and one charge.

    A job in doubt may have been paid, and an accepted one may have a cost that is not told.
    """

    _known: dict[str | None, float] = field(factory=dict, init=False)
    _unknown: set[str | None] = field(factory=set, init=False)
    _in_doubt: set[str | None] = field(factory=set, init=False)

    def add(self, outcome: Outcome) -> bool:
        """Add what is known of the outcome of an item; whether its job was not counted before."""
        is_new = outcome.key not in self._known
        if outcome.charge is not None:
            self._known[outcome.key] = outcome.charge.credits
        elif outcome.may_be_paid:
            (self._in_doubt if outcome.status is ItemStatus.IN_DOUBT else self._unknown).add(outcome.key)
        return is_new

    @property
    def text(self) -> str:
        """The sum, and of how many jobs it is not known: `for 4 credits`; empty if it is not known of any."""
        if not self._known:
            return ""
        known, unknown = len(self._known), len(self._unknown - self._known.keys())
        text = f"for {format_credits(sum(self._known.values()))}"
        text += f" (known for {known} of {known + unknown} jobs)" if unknown else ""
        return text + (f", plus what {len(self._in_doubt)} in doubt may have cost" if self._in_doubt else "")


def format_credits(credits: float) -> str:  # noqa: A002 - the provider's word
    """Return an amount of credits."""
    return f"{credits:g} credit{'' if credits == 1 else 's'}"


def format_balance(balance: Credits) -> str:
    """Return a balance as text."""
    text = f"{format_credits(balance.available)} available"
    if balance.used is not None and balance.limit is not None:
        return f"{text}, {balance.used:g} of {balance.limit:g} used"
    return text


class OutcomeListener(Protocol):
    """Gets all outcomes of a batch as they come, for example for a report; `total` is the number of items, if known."""

    total: int | None

    @abstractmethod
    async def check(self) -> None:
        """Raise InvalidInput if it cannot do its work; called before anything is paid."""

    @abstractmethod
    def add(self, outcome: Outcome) -> None:
        """Take the outcome of an item that has ended."""

    @abstractmethod
    async def save(self, code: int, *, err: bool) -> int:
        """Do what remains at the end, say so on stdout or stderr, and return the exit code, perhaps another."""


@define(eq=False)
class Outcomes:
    """Counts the outcomes of a batch, and passes each to the listener."""

    listener: OutcomeListener | None = None
    counts: Counter[ItemStatus] = field(factory=Counter, init=False)
    saved_before: int = field(default=0, init=False)
    charges: KnownCharges = field(factory=KnownCharges, init=False)

    def add(self, outcome: Outcome) -> Outcome:
        """Add the outcome of an item; return it, without its cost if that was counted for another input."""
        if not self.charges.add(outcome):
            outcome = evolve(outcome, charge=None, may_be_paid=False)
        self.counts[outcome.status] += 1
        self.saved_before += outcome.saved_before
        if self.listener is not None:
            self.listener.add(outcome)
        return outcome
