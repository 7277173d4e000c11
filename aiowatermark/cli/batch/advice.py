"""Advice: what to do about the items of a batch that are not done; each kind of them has one text and its commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from ... import AuthenticationError, InvalidInput, JobFailed, JobNotFound, Status, Unsupported, WatermarkError
from ...observation.commands import preparation_lines
from ...tokens import decode_token
from ..advice.other_accounts import JobsElsewhere, OpenElsewhere
from ..advice.settlements import settlement_lines
from ..console.problems import key_variables, problem_text
from ..console.texts import count_text, printable, say, shown_name
from .items import BatchItem, ItemStatus, Plan
from .request import BatchRequest
from .saving import NotSaved

_MAX_NAMED = 3
_MAX_TOKEN = 5000
_MAX_LISTED = 50
"""Items that a list names; all of them are in the lines of --json."""


@frozen(eq=False)
class Advice:
    """Prints what to do about items, in the order in which they are given; of none, nothing."""

    request: BatchRequest
    on_stderr: bool

    def about_account(self, items: Sequence[BatchItem], refusal: WatermarkError | None) -> None:
        """Print once why nothing more was sent for the account."""
        if not items or refusal is None:
            return
        account = f" (account {printable(self.request.account.name)})" if self.request.account.name else ""
        self.say(f"{refusal.message}{account}: {count_text(len(items), 'file')} not sent: {_names(items)}")
        cure = "Top up the account"
        if isinstance(refusal, AuthenticationError):
            cure = f"Check {key_variables(refusal.provider, otherwise='the API key')}"
        self._say_same_command(f"{cure}, and run the same command")

    def about_doubts(self, items: Sequence[BatchItem]) -> None:
        """Print what only the user can find out: whether the provider took a job whose answer was lost."""
        if not items:
            return
        not_again = ", so not sent again" if self.request.store else ""
        self.say(f"{len(items)} in doubt: sent, but no usable answer was received; may have been paid{not_again}:")
        if not self.request.store:  # no command can look it up again, and nothing keeps it from being sent again
            self.list([f"  {shown_name(item.source)}  its token: {item.token}" for item in items])
            self.say(f"Check your account at {self.request.title} first: the same command sends them again.")
            return
        self._about_settlements(items)

    def _about_settlements(self, items: Sequence[BatchItem]) -> None:
        self.list([f"  {shown_name(item.source)}  key {item.key}" for item in items])
        self.say(f"Look for each in your account at {self.request.title}.")
        jobs = [(shown_name(item.source), item.key) for item in items]
        for line in settlement_lines(jobs, self.request.account, self.request.commands):
            self.say(line)
        self._say_what_to_set()

    def about_other_accounts(self, items: Sequence[BatchItem], total: int) -> None:
        """Print what was sent under other accounts, and the command that fetches it; `total` counts all inputs."""
        found = JobsElsewhere.of((item.source, item.error) for item in items)
        again = describe_again(items, total) if self.request.pays_anew else ""
        for line in found.describe(self.request.commands, again):
            self.say(line)

    def about_unanswered(self, items: Sequence[BatchItem]) -> None:
        """Print what was cut while its paid request had no answer."""
        if not items:
            return
        self.say(f"{len(items)} still being submitted, so they may have been paid; check your account:")
        if self.request.store and (named := [item for item in items if item.key]):
            self._about_settlements(named)
        else:
            self.list([f"  {shown_name(item.source)}" for item in items])

    def about_lost(self, items: Sequence[BatchItem]) -> None:
        """Print what was settled as paid."""
        if items:
            self.say(f"{len(items)} settled as paid: the result cannot be fetched, and it is not submitted again:")
            self.list([f"  {shown_name(item.source)}  key {item.key}" for item in items])
            self._about_payment_anew(items)

    def about_running(self, items: Sequence[BatchItem]) -> None:
        """Print the command that fetches the results of jobs whose deadline has passed."""
        if items:
            one = len(items) == 1
            self.say(f"{len(items)} still at {self.request.title}, paid or to be paid: {_names(items)}")
            if self.request.store:
                fetched = "its result" if one else "their results"
                self._say_same_command(f"The same command waits for {fetched} again, at no further cost")

    def about_failed_jobs(self, items: Sequence[BatchItem]) -> None:
        """Print what to do about jobs that the provider accepted and could not do."""
        if items and self.request.store:
            self.say(f"{len(items)} failed at {self.request.title} and not submitted again: {_names(items)}")
            self._about_payment_anew(items)

    def about_unsaved(self, items: Sequence[BatchItem]) -> None:
        """Print who keeps the results of paid jobs that could not be written."""
        for kept in dict.fromkeys(item.error.kept for item in items if isinstance(item.error, NotSaved)):
            of_it = [item for item in items if isinstance(item.error, NotSaved) and item.error.kept == kept]
            self.say(f"{len(of_it)} paid and not saved ({_names(of_it)}): {kept}")
            if self.request.store:
                self._say_same_command("When it can be written, the same command saves it, at no further cost")

    def about_repetition(self, items: Sequence[BatchItem], among: int) -> None:
        """Print the command that tries items again, which are some `among` those named before."""
        if items:
            what = "these" if len(items) == among else f"{len(items)} of these ({_names(items)})"
            text = f"The same command tries {what} again; what is done is skipped, and nothing is paid twice"
            self._say_same_command(text)

    def about_tokens(self, items: Sequence[BatchItem]) -> None:
        """Print the command that fetches what is at the provider, where nothing is remembered."""
        found = [item for item in items if has_task(item) and _is_resumable(item)]
        # one of a megabyte came from outside, and is not repeated
        tokens = [item.token for item in found if item.token and len(item.token) <= _MAX_TOKEN]
        if tokens:
            self.say("To fetch the results of what was submitted, at no further cost:")
            self.say(f"  {self.request.commands.resume(self.request.account, tokens)}")

    def _about_payment_anew(self, items: Sequence[BatchItem]) -> None:
        if self.request.store:
            self.say("To pay anew for these alone, run this and then the same command:")
            self.say(f"  {self.request.commands.forget([item.key for item in items[:_MAX_LISTED]])}")
            self._say_what_to_set()
            self.say("To pay anew for everything, also for what is done: the same command with --again.")

    def _say_same_command(self, text: str) -> None:
        """Print a text that ends with the command that was given, if that can be shown."""
        if self.request.reads_stdin:  # alone, the command would wait for lines of the terminal
            self.say(f"{text}. Give it the same lines on stdin.")
            return
        command = self.request.same_command()
        self.say(f"{text}{':' if command else '.'}")
        if command:
            self.say(f"  {command}")

    def _say_what_to_set(self) -> None:
        for line in preparation_lines(*self.request.notes):
            self.say(line)

    def list(self, lines: Sequence[str]) -> None:
        """Print the first lines of a list, and how many there are more."""
        for line in lines[:_MAX_LISTED]:
            self.say(line)
        if len(lines) > _MAX_LISTED:
            self.say(f"  and {len(lines) - _MAX_LISTED} more; --json names all of them")

    def say(self, text: str, *, bold: bool = False) -> None:
        """Print a text on the stream for people."""
        say(text, err=self.on_stderr, bold=bold)


def reason_of(item: BatchItem) -> str:
    """Return why an item is not done, without its name, which the caller prints."""
    text = "" if item.error is None else problem_text(item.error)
    return text.removeprefix(f"{item.source} ").removeprefix(f"{Path(item.source).name} ")


def has_task(item: BatchItem) -> bool:
    """Whether the item's token has a task id; without one, the answer to its submission is missing."""
    return item.token is not None and decode_token(item.token).task_id is not None


def is_tried_again(item: BatchItem) -> bool:
    """Whether the same command does more for an item than to report it again."""
    return not isinstance(item.error, JobFailed | JobNotFound | InvalidInput | Unsupported | NotSaved)


def is_paid_by_again(item: BatchItem) -> bool:
    """Whether --again submits an item, as it was planned or, if it has ended, after this run.

    It submits all but those that cannot be submitted, and those whose job is at the provider.
    """
    if item.elsewhere or isinstance(item.error, OpenElsewhere):
        return True
    if item.status is None:
        return item.plan not in {None, Plan.OPEN, Plan.REFUSED}
    if item.status is ItemStatus.FAILED:
        return item.handle is None or isinstance(item.error, JobFailed | JobNotFound)
    return item.status not in {ItemStatus.REFUSED, ItemStatus.UNSAVED, ItemStatus.UNFINISHED}


def describe_again(items: Iterable[BatchItem], total: int) -> str:
    """Return for how many of so many inputs --again pays; `items` has at least those for which it does not."""
    paid = total - sum(not is_paid_by_again(item) for item in items)
    return again_text(paid, total)


def again_text(paid: int, total: int) -> str:
    """Return that --again pays for some of so many inputs: `--again pays anew for all 4 files`."""
    if total == 1:
        return "--again pays anew for it"
    return f"--again pays anew for {f'all {total} files' if paid == total else f'{paid} of the {total} files'}"


def _is_resumable(item: BatchItem) -> bool:
    """Whether `resume` may fetch a result: the job still runs, or it has one that could not be saved."""
    if item.status is ItemStatus.UNFINISHED:
        return True
    return item.handle is not None and item.handle.snapshot.status is Status.SUCCEEDED


def _names(items: Sequence[BatchItem]) -> str:
    """Return the first names of items, and how many there are more."""
    more = len(items) - _MAX_NAMED
    return ", ".join(shown_name(item.source) for item in items[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
