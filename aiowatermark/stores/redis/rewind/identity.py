"""Identity of a Redis server: whether a new connection leads to the server, and to the data, of the earlier ones.

A Redis that was restarted, replaced by a replica or restored has forgotten its latest writes, and says so nowhere: it
simply does not know a key that has been paid for. What it does say, to INFO:

    field                what a change means
    run_id               another process: a restart, or another server under the same address
    master_replid        another history of writes: a replica was promoted, or a full copy of another server loaded
    master_repl_offset   lower than before under the same ids: writes were taken back

Each of these is a rewind. Some rewinds have lost nothing (a clean restart with an append-only file): they cost one
write of the unfinished jobs and a short delay, so no attempt is made to tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

_MICROSECONDS = 1_000_000


@frozen
class ServerIdentity:
    """The process and the history of writes that a connection leads to."""

    run_id: str
    replication_id: str
    offset: int
    age: float
    """Seconds for which the process has been running at least; INFO tells its start in whole seconds."""
    primary: bool = True
    """Whether it is not a replica."""

    def advance(self, later: ServerIdentity) -> ServerIdentity:
        """Return this identity with the higher offset of both: replies may overtake one another."""
        return later if later.offset >= self.offset else self


def parse_info(reply: bytes | str | Mapping[Any, Any]) -> dict[str, str]:
    """Return the fields of a reply to INFO; redis-py may have parsed it already."""
    if isinstance(reply, Mapping):
        return {str(name): str(value) for name, value in reply.items()}
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def parse_identity(info: Mapping[str, str]) -> ServerIdentity:
    """Return the identity in the fields of `INFO server` and `INFO replication`; raises ValueError if it is not there.

    A proxy may leave fields out, and without them no rewind would be noticed.
    """
    try:
        return ServerIdentity(
            info["run_id"],
            info["master_replid"],
            int(info["master_repl_offset"]),
            _least_age(int(info["uptime_in_seconds"]), int(info["server_time_usec"])),
            primary=info["role"] == "master",
        )
    except KeyError as error:
        raise ValueError(f"INFO has no field {error.args[0]}") from None


def _least_age(uptime: int, now: int) -> float:
    """Return the least age of a process from its uptime in seconds and its time in microseconds.

    The uptime is the difference of two times that were rounded down. The process may have started up to one second
    after the rounded start.
    """
    return max(0.0, uptime - 1 + now % _MICROSECONDS / _MICROSECONDS)


def rewind_reason(last: ServerIdentity | None, new: ServerIdentity, highest_offset: int) -> str | None:
    """Return what shows that the server may have forgotten writes since the last identity; None if nothing does.

    `highest_offset` is the highest offset that was known before `new` was asked for: replies may overtake one another.
    """
    if last is None:
        return None
    if new.run_id != last.run_id:
        return "it was restarted, or another server has taken its place"
    if new.replication_id != last.replication_id:
        return "its data are now those of another server"
    if new.offset < highest_offset:
        return "its data went back to an earlier state"
    return None
