"""Jobs of other accounts: what a command says of those that it finds open and does not continue.

A job belongs to the account that paid for it. Another one cannot ask for it: the provider would not know the task, and
that would end the job. So such a job is left as it is, and the command that continues it is printed, once for all jobs
of an account.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from attrs import define, field, frozen

from ... import InvalidInput
from ...jobs import Record
from ...observation.commands import AccountOptions, Commands, preparation_lines
from ..console.problems import key_variables
from ..console.texts import shorten, shown_name

_MAX_NAMED = 3
_MAX_ACCOUNTS = 5
_MAX_NAME = 60
MAX_KEYS = 20
"""Keys that a command names: more of them make it unreadable."""


@frozen
class OtherAccount:
    """Where a job belongs: the options that lead there, and how a user may know it: `another account (…)`."""

    options: AccountOptions
    description: str


def place_of(description: str) -> str:
    """Return where something was done or sent: `under another account (…)`, but `at another address (…)`."""
    return f"{'under' if description.startswith('another account') else 'at'} {description}"


class OpenElsewhere(InvalidInput):
    """A job was sent under another account and its result is not here: it is neither continued nor paid again."""

    def __init__(self, record: Record, account: OtherAccount, *, in_store: bool = True) -> None:
        super().__init__(f"was sent {place_of(account.description)} and its result is not here")
        self.record = record
        self.account = account
        self.in_store = in_store


@define(eq=False)
class _Jobs:
    """Jobs of one account: their number, and the first names, and keys or tokens. `found_by_all`: --all finds them."""

    count: int = 0
    in_doubt: int = 0
    found_by_all: bool = True
    has_more_keys: bool = False
    names: list[str] = field(factory=list)
    keys: list[str] = field(factory=list)


@define(eq=False)
class JobsElsewhere:
    """Collects the open jobs of other accounts, and describes them; memory is bounded."""

    jobs: dict[OtherAccount, _Jobs] = field(factory=dict, init=False)

    @classmethod
    def of(cls, items: Iterable[tuple[str, Exception | None]]) -> Self:
        """Return those that items were refused for; each item is a name and an error."""
        found = cls()
        for name, error in items:
            if isinstance(error, OpenElsewhere):
                found.add(error.record, error.account, name, in_store=error.in_store)
        return found

    def add(self, record: Record, account: OtherAccount, name: str = "", *, in_store: bool = True) -> None:
        """Add a job; without a name it is only counted. One that is not in the store is known by its token."""
        jobs = self.jobs.setdefault(account, _Jobs())
        jobs.count += 1
        jobs.in_doubt += record.in_doubt
        jobs.found_by_all = jobs.found_by_all and in_store and not record.snapshot.status.terminal
        if name and len(jobs.names) < _MAX_NAMED:
            jobs.names.append(shorten(shown_name(name), _MAX_NAME))
        word = record.key if in_store else record.token
        # the same picture under two names is one job
        if not record.in_doubt and word not in jobs.keys:
            jobs.has_more_keys = len(jobs.keys) == MAX_KEYS
            jobs.keys += [] if jobs.has_more_keys else [word]

    def of_provider(self, name: str) -> bool:
        """Whether some are at this provider: others are continued by a command of their own anyway."""
        return any(account.options.provider == name for account in self.jobs)

    def describe(self, commands: Commands, again: str = "") -> Iterator[str]:
        """Yield what is said: for each account the number, names and the command; `again` says what --again does."""
        accounts = list(self.jobs.items())
        for account, jobs in accounts[:_MAX_ACCOUNTS]:
            yield from _describe(account, jobs, commands)
        if more := sum(jobs.count for _, jobs in accounts[_MAX_ACCOUNTS:]):
            yield f"{more} more belong to {len(accounts) - _MAX_ACCOUNTS} further accounts; this lists all:"
            yield f"  {commands.list_jobs('-v')}"
        if self.jobs and again:
            yield f"{again}, under this account."
        if self.jobs:
            yield from preparation_lines(commands.note)


def _headline(account: OtherAccount, jobs: _Jobs) -> str:
    one = jobs.count == 1
    if not jobs.names:
        return f"{jobs.count} open {'job belongs' if one else 'jobs belong'} to {account.description}."
    more = f" and {jobs.count - len(jobs.names)} more" if jobs.count > len(jobs.names) else ""
    what = "was sent {}, and its result is" if one else "were sent {}, and their results are"
    return f"{jobs.count} {what.format(place_of(account.description))} not here: {', '.join(jobs.names)}{more}."


def _describe(account: OtherAccount, jobs: _Jobs, commands: Commands) -> Iterator[str]:
    yield _headline(account, jobs)
    if fetched := jobs.count - jobs.in_doubt:
        key = f"with the API key of that account in {key_variables(account.options.provider)}"
        # --all is shorter than many keys, and finds only what is unfinished
        every = jobs.found_by_all and (len(jobs.keys) > 1 or jobs.has_more_keys)
        first = f" (the first {MAX_KEYS})" if jobs.has_more_keys and not every else ""
        yield f"To fetch {'the result' if fetched == 1 else 'the results'}{first}, at no further cost, {key}:"
        yield f"  {commands.resume(account.options, [] if every else jobs.keys)}"
        yield from preparation_lines(account.options.note)
    if jobs.in_doubt:
        which = "It" if jobs.count == 1 else f"{jobs.in_doubt} of these"
        yield f"{which} may have been paid, and no usable answer was received. This says what to do:"
        yield f"  {commands.list_jobs()}"
