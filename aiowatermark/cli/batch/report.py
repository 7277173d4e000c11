"""Report of a batch for people: one line for each result, and a summary that names each failure once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import click
from attrs import frozen

from ... import DeadlineExceeded, JobFailed, JobNotFound, WatermarkError
from ..advice.other_accounts import OpenElsewhere
from ..console.texts import shown_name
from .account import NotSent
from .advice import Advice, has_task, is_tried_again, reason_of
from .items import COUNT_WORDS, BatchItem, ItemStatus, Outcome, format_credits
from .json_lines import outcome_line
from .request import BatchRequest
from .workers import WorkerPool

_MAX_ALIKE = 3
_FAILURES = (ItemStatus.REFUSED, ItemStatus.FAILED, ItemStatus.UNSAVED)


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


@frozen(eq=False)
class Summary:
    """Prints the end of a run: the counts, what is not done and why, and the commands that continue.

    `total` is the number of items, None if it is not known. `refusal` is why nothing of the account was sent any more.
    """

    request: BatchRequest
    pool: WorkerPool
    total: int | None
    refusal: WatermarkError | None = None

    def print(self) -> None:
        """Print it, on stdout or, with --json, on stderr."""
        advice = Advice(self.request, on_stderr=self._on_stderr)
        advice.say(self._headline(), bold=True)
        running = [item for item in self._items(ItemStatus.UNFINISHED) if isinstance(item.error, DeadlineExceeded)]
        failed = [item for item in self._items(*_FAILURES) if not self._is_of_account(item)]
        advice.list(list(_failure_lines([*failed, *running])))
        total = self.pool.outcomes.counts.total() if self.total is None else self.total
        advice.about_other_accounts(self.pool.not_done, total)
        advice.about_account(self._unsent_by_account(), self.refusal)
        advice.about_doubts(self._items(ItemStatus.IN_DOUBT))
        advice.about_unanswered([item for item in self._items(ItemStatus.UNFINISHED) if not has_task(item)])
        advice.about_lost(self._items(ItemStatus.LOST))
        advice.about_failed_jobs([item for item in failed if isinstance(item.error, JobFailed | JobNotFound)])
        advice.about_unsaved(self._items(ItemStatus.UNSAVED))
        advice.about_running(running)
        self._print_continuation(advice, failed)

    def _items(self, *statuses: ItemStatus) -> list[BatchItem]:
        """Return the items of these statuses, in the order in which they were given."""
        found = (item for item in self.pool.not_done if item.status in statuses)
        return sorted(found, key=lambda item: item.number)

    def _is_of_account(self, item: BatchItem) -> bool:
        """Whether an item was refused for what is said once, of the whole account."""
        return self.refusal is not None and type(item.error) is type(self.refusal)

    def _unsent_by_account(self) -> list[BatchItem]:
        if self.refusal is None:
            return []
        items = self._items(ItemStatus.UNSENT, ItemStatus.REFUSED)
        return [item for item in items if self._is_of_account(item) or isinstance(item.error, NotSent)]

    def _headline(self) -> str:
        charges, before = self.pool.outcomes.charges.text, self.pool.outcomes.saved_before
        counts, unsent = self._counts()
        words = [f"{counts[ItemStatus.DONE]} done{f' ({before} before)' if before else ''}"]
        if self.pool.stop.is_set():
            words += [f"{counts[ItemStatus.UNFINISHED]} {COUNT_WORDS[ItemStatus.UNFINISHED]}", unsent]
        if counts[ItemStatus.FAILED] or not self.pool.stop.is_set():
            words.append(f"{counts[ItemStatus.FAILED]} {COUNT_WORDS[ItemStatus.FAILED]}")
        words += [f"{number} {name}" for name, number in self._further_counts(counts) if number]
        if self.pool.stop.is_set():
            continues = "; the same command continues" if self.request.store else ""
            return f"Stopped: {', '.join(words)}{charges and f' {charges}'}{continues}"
        text = f"{', '.join(words)} in {self.pool.display.seconds:.1f} s{charges and f' {charges}'}"
        return f"{text}; results are in {self.request.folder}" if counts[ItemStatus.DONE] else text

    def _counts(self) -> tuple[Counter[ItemStatus], str]:
        """Return the items of each status, and how many were not sent; the account's refusals count among those."""
        counts = Counter(self.pool.outcomes.counts)
        if self.refusal is not None:
            refused = len([item for item in self._items(ItemStatus.REFUSED) if self._is_of_account(item)])
            counts[ItemStatus.REFUSED] -= refused
            counts[ItemStatus.UNSENT] += refused
        if self.total is None:  # what was never read cannot be counted
            return counts, "the rest unsent"
        return counts, f"{self.total - counts.total() + counts[ItemStatus.UNSENT]} unsent"

    def _further_counts(self, counts: Counter[ItemStatus]) -> Iterator[tuple[str, int]]:
        said = {ItemStatus.FAILED} | ({ItemStatus.UNFINISHED, ItemStatus.UNSENT} if self.pool.stop.is_set() else set())
        for status, words in COUNT_WORDS.items():
            if status not in said:
                yield words, counts[status]

    def _print_continuation(self, advice: Advice, failed: Sequence[BatchItem]) -> None:
        """Print the command that continues, or the one that fetches what is at the provider."""
        if not self.request.store:
            advice.about_tokens(self._items(*ItemStatus))
        elif not self.pool.stop.is_set():  # after Ctrl-C the headline says so
            advice.about_repetition([item for item in failed if is_tried_again(item)], len(failed))

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
