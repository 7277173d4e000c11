"""Which replica watches which job, and the index of jobs that are unfinished: what is said to Redis of both."""

from __future__ import annotations

from attrs import frozen

from ...jobs import Record
from .keys import LEASE_KEYS, Command, RedisKeys, digest
from .scripts import DROP, TRACK


@frozen
class LeaseCommands:
    """What the replica `me` says."""

    keys: RedisKeys
    replica_id: str
    lease_ms: int

    def lease(self, record: Record) -> tuple[Command, Command]:
        """What leases a job to this replica and puts it into the index, where it can be found after a crash."""
        account = digest(record.account)
        keys = self.keys.account(account, *LEASE_KEYS)
        track = TRACK(keys, self.replica_id, self.lease_ms, digest(record.key), format_created(record.created_at))
        return Command("SADD", (self.keys.accounts,), (account,)), track

    def map_callback(self, record: Record) -> tuple[Command, ...]:
        """What says which job a callback is of."""
        if record.callback is None:
            return ()
        return (Command("SET", (self.keys.callback(record.callback),), (digest(record.key),)),)

    def end_lease(self, record: Record, how: str) -> Command:
        """What ends a lease: `ended` (out of the index too), `released` or `left` to others."""
        return self.end_lease_by_digest(
            digest(record.account), digest(record.key), how, format_created(record.created_at)
        )

    def end_lease_by_digest(self, account: str, job: str, how: str, since: str = "") -> Command:
        """The same by digests; of the index only an entry that is as old, where that is given."""
        return DROP(self.keys.account(account, *LEASE_KEYS), self.replica_id, job, how, since)

    def finish(self, record: Record, keep: float) -> list[Command]:
        """What a finished job leaves behind: no lease, and a callback that is known as long as its record."""
        forget = [] if record.callback is None else [self.keys.callback(record.callback)]
        return [self.end_lease(record, "ended"), *(Command("PEXPIRE", (name,), (int(keep * 1000),)) for name in forget)]

    def remove(self, record: Record) -> list[Command]:
        """What removes every trace of a job but its record."""
        forget = [] if record.callback is None else [self.keys.callback(record.callback)]
        return [self.end_lease(record, "ended"), *(Command("DEL", (name,)) for name in forget)]


def format_created(at: float) -> str:
    """When a job began, as the index has it."""
    return f"{at:.6f}"
