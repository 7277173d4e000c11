"""Which replica watches which job, and the index of jobs that are unfinished: what is said to Redis of both."""

from __future__ import annotations

from attrs import frozen

from ...jobs import Record
from .keys import LEASES, Call, Names, digest
from .scripts import DROP, TRACK


@frozen
class Leases:
    """What the replica `me` says."""

    names: Names
    me: str
    milliseconds: int

    def track(self, record: Record) -> tuple[Call, Call]:
        """What leases a job to this replica and puts it into the index, where it can be found after a crash."""
        account = digest(record.account)
        keys = self.names.account(account, *LEASES)
        track = TRACK(keys, self.me, self.milliseconds, digest(record.key), created(record.created_at))
        return Call("SADD", (self.names.accounts,), (account,)), track

    def mapped(self, record: Record) -> tuple[Call, ...]:
        """What says which job a callback is of."""
        if record.callback is None:
            return ()
        return (Call("SET", (self.names.callback(record.callback),), (digest(record.key),)),)

    def dropped(self, record: Record, how: str) -> Call:
        """What ends a lease: `ended` (out of the index too), `released` or `left` to others."""
        return self.drop(digest(record.account), digest(record.key), how, created(record.created_at))

    def drop(self, account: str, job: str, how: str, since: str = "") -> Call:
        """The same by digests; of the index only an entry that is as old, where that is given."""
        return DROP(self.names.account(account, *LEASES), self.me, job, how, since)

    def ended(self, record: Record, keep: float) -> list[Call]:
        """What a finished job leaves behind: no lease, and a callback that is known as long as its record."""
        forget = [] if record.callback is None else [self.names.callback(record.callback)]
        return [self.dropped(record, "ended"), *(Call("PEXPIRE", (name,), (int(keep * 1000),)) for name in forget)]

    def gone(self, record: Record) -> list[Call]:
        """What removes every trace of a job but its record."""
        forget = [] if record.callback is None else [self.names.callback(record.callback)]
        return [self.dropped(record, "ended"), *(Call("DEL", (name,)) for name in forget)]


def created(at: float) -> str:
    """When a job began, as the index has it."""
    return f"{at:.6f}"
