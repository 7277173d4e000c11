"""What `jobs` says to do about the jobs that it lists: for each state and account, with complete commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from attrs import define, field

from ...jobs import Record
from ...observation.commands import Commands, preparation_lines
from ..console.texts import shown_name
from ..console.times import local_time
from .accounts import account_of_record, identity_of
from .job_states import State, how_to_submit_again, sent_at
from .other_accounts import MAX_KEYS
from .settlements import settlement_lines

_Account: TypeAlias = tuple[str, str, str | None]
_HEADLINES = {
    State.RUNNING: "running at the provider. To fetch the results{destination}:",
    State.FINISHED: "finished, and the results were not fetched. To fetch them{destination}:",
    State.HELD: "in the hands of a client that is alive. Leave them to it.",
    State.UNSENT: "unsent: the submission was not complete, nothing was paid. {again}",
    State.UNPAID: "settled as unpaid. {again}",
    State.IN_DOUBT: (
        "in doubt: sent, but no usable answer was received; may have been paid. "
        "Look for each in your account at the provider."
    ),
    State.ENDED: "ended.",
}


@define(eq=False)
class _Jobs:
    """The jobs of one account in one state: the first one, their number, and the first names, keys and times."""

    first: Record
    count: int = 0
    named: list[tuple[str, str]] = field(factory=list)
    sent_at: list[float | None] = field(factory=list)

    def sent_lines(self) -> Iterator[str]:
        """Yield when each was sent: by that it is found in the list of the provider."""
        for (name, _), seconds in zip(self.named, self.sent_at, strict=True):
            if seconds is not None:
                yield f"  {shown_name(name)}  sent {local_time(seconds)}"


@define(eq=False)
class JobAdvice:
    """Collects the jobs that are listed, a bounded number of each kind, and says what to do about them."""

    commands: Commands
    jobs: dict[State, dict[_Account, _Jobs]] = field(factory=lambda: {state: {} for state in State}, init=False)

    def add(self, record: Record, state: State, name: str) -> None:
        """Add a job; `name` is that of its input."""
        account = identity_of(record)
        jobs = self.jobs[state].setdefault(account, _Jobs(record))
        jobs.count += 1
        if len(jobs.named) < MAX_KEYS:
            jobs.named.append((name, record.key))
            jobs.sent_at.append(sent_at(record))

    @property
    def is_empty(self) -> bool:
        """Whether there was no job."""
        return not any(self.jobs.values())

    def lines(self) -> Iterator[str]:
        """Yield what to do, a headline for each state."""
        again = how_to_submit_again(in_folder=self.commands.store is None)
        notes: dict[str, None] = {}
        for state, accounts in self.jobs.items():
            if accounts:
                total = sum(jobs.count for jobs in accounts.values())
                yield f"{total} {_HEADLINES[state].format(again=again, destination=self.commands.destination)}"
                yield from self._commands(state, accounts.values(), notes)
        yield from preparation_lines(*notes)

    def _commands(self, state: State, accounts: Iterable[_Jobs], notes: dict[str, None]) -> Iterator[str]:
        for jobs in accounts:
            options = account_of_record(jobs.first)
            keys = [key for _, key in jobs.named]
            if state is State.RUNNING:
                yield f"  {self.commands.resume(options, [])}"
            elif state is State.FINISHED:
                yield f"  {self.commands.resume(options, keys)}"
                if jobs.count > len(keys):
                    yield f"These are the first {len(keys)} of {jobs.count}; then `jobs` names the others."
            elif state is State.IN_DOUBT:
                yield from jobs.sent_lines()
                yield from settlement_lines(jobs.named, options, self.commands, jobs.count)
            else:
                continue
            notes.update(dict.fromkeys((self.commands.note, options.note)))
