"""Lease commands: which replica watches which job, and the index of unfinished jobs."""

from __future__ import annotations

from typing import NamedTuple

from attrs import frozen

from ...jobs import Record
from .keys import LEASE_KEYS, Command, RedisKeys, digest
from .scripts import END_LEASE, LEASE


class LeaseReply(NamedTuple):
    """The reply of LEASE; 0 or 1 each."""

    unknown: int
    """Whether Redis did not know this replica."""
    granted: int
    """Whether the job is leased to this replica now."""


@frozen
class LeaseCommands:
    """Builds the lease commands of the replica `replica_id`; they are sent by the caller.

    `mode` of an ended lease is `ended` (the job is finished: remove it from the index too), `released` (no replica
    needs to watch it) or `left` (any other replica may take it over immediately).
    """

    keys: RedisKeys
    replica_id: str
    lease_ms: int

    def lease(self, record: Record) -> tuple[Command, Command]:
        """Return the commands that lease a job to this replica and index it, so that it is found after a crash.

        The second one is LEASE: its reply is a LeaseReply.
        """
        account = digest(record.account)
        keys = self.keys.account(account, *LEASE_KEYS)
        lease = LEASE(keys, self.replica_id, self.lease_ms, digest(record.key), format_created(record.created_at))
        return Command("SADD", (self.keys.accounts,), (account,)), lease

    def map_callback(self, record: Record) -> tuple[Command, ...]:
        """Return the command that maps a job's callback to the job, if it has a callback."""
        if record.callback is None:
            return ()
        return (Command("SET", (self.keys.callback(record.callback),), (digest(record.key),)),)

    def end_lease(self, record: Record, mode: str) -> Command:
        """Return the command that ends a job's lease in `mode`."""
        return self.end_lease_by_digest(
            digest(record.account), digest(record.key), mode, format_created(record.created_at)
        )

    def end_lease_by_digest(self, account: str, job: str, mode: str, created: str = "") -> Command:
        """Return the same command for the digests of an account and a job's key.

        With `created`, mode `ended` does nothing if the index entry belongs to a job with another creation time.
        """
        return END_LEASE(self.keys.account(account, *LEASE_KEYS), self.replica_id, job, mode, created)

    def finish(self, record: Record, keep: float) -> list[Command]:
        """Return the commands after a finished job: end its lease, let its other keys expire in `keep` seconds."""
        expire = [Command("PEXPIRE", (key,), (int(keep * 1000),)) for key in self._lookup_keys(record)]
        return [self.end_lease(record, "ended"), *expire]

    def remove(self, record: Record) -> list[Command]:
        """Return the commands that delete everything about a job except its record."""
        return [self.end_lease(record, "ended"), *(Command("DEL", (key,)) for key in self._lookup_keys(record))]

    def _lookup_keys(self, record: Record) -> list[str]:
        """The keys by which a callback or a task leads to the job."""
        task_id = record.snapshot.task_id
        callback = [] if record.callback is None else [self.keys.callback(record.callback)]
        return callback + ([] if task_id is None else [self.keys.task(record.account, task_id)])


def format_created(created_at: float) -> str:
    """Return a creation time as it stands in the index of unfinished jobs."""
    return f"{created_at:.6f}"
