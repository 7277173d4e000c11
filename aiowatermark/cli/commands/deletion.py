"""`jobs forget`: deletes jobs from a store, and says what was paid, or may have been, before it is paid again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, field

from ... import JobStore, Status
from ...client.engine.submission.claims import owners_of
from ...jobs import Record
from ...observation.commands import Commands
from ..advice.accounts import account_of_record
from ..advice.job_states import State, sent_at, state_of
from ..advice.listed_jobs import JobAdvice
from ..advice.lookup import unknown_job
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED
from ..console.texts import MAX_NAME, printable, say
from ..console.times import local_time
from .job_rows import name_of

_PAYS_AGAIN = "the next `aiowatermark remove` of the same file pays again"


@define(eq=False)
class JobDeletion:
    """Deletes jobs of a store; those in doubt, and those of living clients, only by `force`."""

    store: JobStore
    commands: Commands
    force: bool
    _in_doubt: list[Record] = field(factory=list, init=False)

    async def run(self, keys: Sequence[str]) -> int:
        """Delete jobs by their keys, say what became of each, and return the exit code."""
        deleted = [await self._delete(key) for key in dict.fromkeys(keys)]
        for line in _advice_on_doubts(self._in_doubt, self.commands):
            say(line, err=True)
        return EXIT_OK if all(deleted) else EXIT_SOME_FAILED

    async def _delete(self, key: str) -> bool:
        record = await self.store.get(key)
        if record is None:
            say(f"unknown    {unknown_job(key, self.commands).message}", err=True)
            return False
        state = state_of(record, is_gone=await owners_of(self.store).is_gone(record))
        if not self.force and state in {State.HELD, State.IN_DOUBT}:
            return self._keep(record, state)
        if not await self.store.forget(record):
            say(f"kept       {printable(key, MAX_NAME)}: it was changed meanwhile, look at it again", err=True)
            return False
        say(f"forgotten  {printable(key, MAX_NAME)}")
        for line in _payment_lines(record, self.commands):
            say(line)
        return True

    def _keep(self, record: Record, state: State) -> bool:
        why = "a client that is alive works on it (see --force)"
        if state is State.IN_DOUBT:
            why = "may have been paid: it was sent, and no usable answer was received"
            self._in_doubt.append(record)
        say(f"kept       {printable(record.key, MAX_NAME)}: {why}", err=True)
        return False


def _advice_on_doubts(records: Sequence[Record], commands: Commands) -> Iterator[str]:
    """Yield how jobs in doubt are settled, and how they are deleted all the same."""
    if not records:
        return
    advice = JobAdvice(commands)
    for record in records:
        advice.add(record, State.IN_DOUBT, name_of(record, []))
    yield from advice.lines()
    yield f"To delete {'it' if len(records) == 1 else 'them'} all the same; {_PAYS_AGAIN}, perhaps for the second time:"
    yield f"  {commands.forget([record.key for record in records], '--force')}"


def _payment_lines(record: Record, commands: Commands) -> Iterator[str]:
    """Yield what was paid for a job that was deleted, or may have been, and what still fetches its result."""
    if record.in_doubt:
        sent = sent_at(record)
        when = "" if sent is None else f" {local_time(sent)}"
        yield f"It may have been paid: it was sent{when}, and no usable answer was received. If it was, {_PAYS_AGAIN}."
    elif record.at_provider or (record.snapshot.status is Status.SUCCEEDED and not record.acknowledged):
        yield f"It is paid, and {_PAYS_AGAIN}."
        if record.snapshot.task_id is None:
            return
        where = "continues at the provider" if record.at_provider else "has ended, and its result was not fetched"
        yield f"The job {where}. To fetch its result{commands.destination} by its token, at no further cost:"
        yield f"  {commands.resume(account_of_record(record), [record.token])}"
