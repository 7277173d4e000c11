"""Report of a batch for people: one line for each result, and a summary that names each failure once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from attrs import frozen

from ... import DeadlineExceeded, InvalidInput, JobFailed, Unsupported
from ...tokens import decode_token
from ..advice.other_accounts import JobsElsewhere, OpenElsewhere
from ..advice.settlements import settlement_lines
from ..console.problems import problem_text
from ..console.texts import say, shown_name
from .items import BatchItem, ItemStatus, Outcome
from .json_lines import outcome_line
from .request import BatchRequest
from .workers import WorkerPool

_MAX_ALIKE = 3
_MAX_TOKEN = 5000
_MAX_LISTED = 50
"""Items that a list names; all of them are in the lines of --json."""


def make_reporter(request: BatchRequest) -> Callable[[Outcome], str]:
    """Return a function that reports an outcome: it returns the line for the progress display, empty for none.

    With --json it also prints the item's JSON line on stdout.
    """

    def report(outcome: Outcome) -> str:
        if request.as_json:
            click.echo(outcome_line(outcome))
        return format_line(outcome)

    return report


def format_line(outcome: Outcome) -> str:
    """Return the line of a result; failures are printed once, by the summary, and results of earlier runs counted."""
    if outcome.status is not ItemStatus.DONE or outcome.saved_before:
        return ""
    remarks = [outcome.remark] if outcome.remark else []
    if outcome.charge is not None:
        remarks.append(format_credits(outcome.charge.credits))
    remark = f" ({', '.join(remarks)})" if remarks else ""
    return f"done  {shown_name(outcome.source)} -> {shown_name(str(outcome.output))}  {outcome.seconds:.1f} s{remark}"


def format_credits(credits: float) -> str:  # noqa: A002 - the provider's word
    """Return an amount of credits."""
    return f"{credits:g} credit{'' if credits == 1 else 's'}"


@frozen(eq=False)
class Summary:
    """Prints the end of a run: the counts, what is not done and why, and the commands that continue.

    `total` is the number of items, None if it is not known.
    """

    request: BatchRequest
    pool: WorkerPool
    total: int | None

    def print(self) -> None:
        """Print it, on stdout or, with --json, on stderr."""
        self._say(self._headline(), bold=True)
        failed = self._items(ItemStatus.FAILED)
        self._list(list(_failure_lines(failed)))
        self._print_open_elsewhere()
        self._print_in_doubt(self._items(ItemStatus.IN_DOUBT))
        self._print_unanswered([item for item in self._items(ItemStatus.UNFINISHED) if not _has_task(item)])
        self._print_lost(self._items(ItemStatus.LOST))
        self._print_failed_at_provider([item for item in failed if isinstance(item.error, JobFailed)])
        self._print_continuation()

    def _items(self, status: ItemStatus) -> list[BatchItem]:
        return [item for item in self.pool.not_done if item.status is status]

    def _headline(self) -> str:
        outcomes = self.pool.outcomes
        counts, before = outcomes.counts, outcomes.saved_before
        words = [f"{counts[ItemStatus.DONE]} done{f' ({before} before)' if before else ''}"]
        if self.pool.stop.is_set():
            words += [f"{counts[ItemStatus.UNFINISHED]} open", self._unsent()]
        if counts[ItemStatus.FAILED] or not self.pool.stop.is_set():
            words.append(f"{counts[ItemStatus.FAILED]} failed")
        if counts[ItemStatus.LOST]:
            words.append(f"{counts[ItemStatus.LOST]} paid and lost")
        if counts[ItemStatus.IN_DOUBT]:
            words.append(f"{counts[ItemStatus.IN_DOUBT]} in doubt")
        if self.pool.stop.is_set():
            continues = "; the same command continues" if self.request.store else ""
            return f"Stopped: {', '.join(words)}{continues}"
        cost = "" if outcomes.credits is None else f" for {format_credits(outcomes.credits)}"
        text = f"{', '.join(words)} in {self.pool.display.seconds:.1f} s{cost}"
        return f"{text}; results are in {self.request.folder}" if counts[ItemStatus.DONE] else text

    def _unsent(self) -> str:
        counts = self.pool.outcomes.counts
        if self.total is None:  # what was never read cannot be counted
            return "the rest unsent"
        return f"{self.total - sum(counts.values()) + counts[ItemStatus.UNSENT]} unsent"

    def _print_in_doubt(self, items: Sequence[BatchItem]) -> None:
        """Print what only the user can find out: whether the provider took a job whose answer was lost."""
        if not items:
            return
        self._say(f"{len(items)} in doubt: sent, but no answer was received; maybe paid, so not sent again:")
        if not self.request.store:  # no command can look it up again
            self._list([f"  {shown_name(item.source)}  its token: {item.token}" for item in items])
            self._say(f"Check your account at {self.request.title} before you send them again.")
            return
        self._print_settlements(items)

    def _print_settlements(self, items: Sequence[BatchItem]) -> None:
        self._list([f"  {shown_name(item.source)}  key {item.key}" for item in items])
        self._say(f"Look for each in your account at {self.request.title}.")
        jobs = [(shown_name(item.source), item.key) for item in items]
        for line in settlement_lines(jobs, self.request.account, self.request.commands):
            self._say(line)
        self._say_what_to_set()

    def _print_open_elsewhere(self) -> None:
        found = JobsElsewhere.of((item.source, item.error) for item in self.pool.not_done)
        for line in found.describe(self.request.commands, pays_anew=self.request.pays_anew):
            self._say(line)

    def _print_unanswered(self, items: Sequence[BatchItem]) -> None:
        if not items:
            return
        self._say(f"{len(items)} still being submitted, so maybe paid; check your account:")
        if self.request.store and (named := [item for item in items if item.key]):
            self._print_settlements(named)
        else:
            self._list([f"  {shown_name(item.source)}" for item in items])

    def _print_lost(self, items: Sequence[BatchItem]) -> None:
        if items:
            self._say(f"{len(items)} settled as paid: the result cannot be fetched, and it is not submitted again:")
            self._list([f"  {shown_name(item.source)}  key {item.key}" for item in items])
            self._print_payment_anew(items)

    def _print_failed_at_provider(self, items: Sequence[BatchItem]) -> None:
        if items and self.request.store:
            self._say("Jobs that failed at the provider are not submitted again.")
            self._print_payment_anew(items)

    def _print_payment_anew(self, items: Sequence[BatchItem]) -> None:
        if self.request.store:
            self._say("To pay anew for these alone, run this and then the same command:")
            self._say(f"  {self.request.commands.forget([item.key for item in items[:_MAX_LISTED]])}")
            self._say_what_to_set()
            self._say("To pay anew for everything, also for what is done: the same command with --again.")

    def _print_continuation(self) -> None:
        """Print the command that continues, or the one that fetches what is at the provider."""
        if self.request.store:
            # after Ctrl-C the headline says so
            if any(map(_is_tried_again, self.pool.not_done)) and not self.pool.stop.is_set():
                command = self.request.same_command()
                text = "The same command tries these again; what is done is skipped, and nothing is paid twice"
                self._say(f"{text}{':' if command else '.'}")
                if command:
                    self._say(f"  {command}")
            return
        items = [item for item in self.pool.not_done if _has_task(item) and _is_resumable(item)]
        # one of a megabyte came from outside, and is not repeated
        tokens = [item.token for item in items if item.token and len(item.token) <= _MAX_TOKEN]
        if tokens:
            self._say("To fetch the results of what was submitted, at no further cost:")
            click.echo(f"  {self.request.commands.resume(self.request.account, tokens)}", err=self._on_stderr)

    def _say_what_to_set(self) -> None:
        for note in self.request.notes:
            self._say(f"Before that, {note}.")

    def _list(self, lines: Sequence[str]) -> None:
        for line in lines[:_MAX_LISTED]:
            self._say(line)
        if len(lines) > _MAX_LISTED:
            self._say(f"  and {len(lines) - _MAX_LISTED} more; --json names all of them")

    def _say(self, text: str, *, bold: bool = False) -> None:
        say(text, err=self._on_stderr, bold=bold)

    @property
    def _on_stderr(self) -> bool:
        # with --json stdout is for the JSON lines alone
        return self.request.as_json or self.pool.display.output_closed


def _failure_lines(items: Sequence[BatchItem]) -> Iterator[str]:
    """Yield a line for each failure; a reason that many have in common is one line, with the first names."""
    groups: dict[str, list[str]] = defaultdict(list)
    for item in items:
        if not isinstance(item.error, OpenElsewhere):  # said once for each account
            groups[reason_of(item)].append(shown_name(item.source))
    for reason, names in groups.items():
        if len(names) <= _MAX_ALIKE:
            yield from (f"  {name}: {reason}" for name in names)
        else:
            yield f"  {len(names)} inputs: {reason}"
            yield f"    {', '.join(names[:_MAX_ALIKE])} and {len(names) - _MAX_ALIKE} more"


def reason_of(item: BatchItem) -> str:
    """Return why an item is not done, without its name, which the caller prints."""
    text = "" if item.error is None else problem_text(item.error)
    return text.removeprefix(f"{item.source} ").removeprefix(f"{Path(item.source).name} ")


def _has_task(item: BatchItem) -> bool:
    """Whether the item's token has a task id; without one, the answer to its submission is missing."""
    return item.token is not None and decode_token(item.token).task_id is not None


def _is_tried_again(item: BatchItem) -> bool:
    """Whether the same command does more for an item than to report it again."""
    return item.status is not ItemStatus.IN_DOUBT and not isinstance(item.error, JobFailed | InvalidInput | Unsupported)


def _is_resumable(item: BatchItem) -> bool:
    """Whether `resume` may fetch a result: the job still runs, or it has one that could not be saved."""
    if item.status is ItemStatus.UNFINISHED or isinstance(item.error, DeadlineExceeded):
        return True
    return item.handle is not None and item.handle.snapshot.status.value == "succeeded"
