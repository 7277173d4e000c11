"""Claims: the names of clients and epochs, by which a store tells who may act for a job."""

from __future__ import annotations

import secrets
import time
import uuid

from ....jobs import Record
from ....stores import JobStore
from ....stores.owners import LocalOwners, Owners

_PROCESS = uuid.uuid4().hex[:16]
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def new_owner() -> str:
    """A name for one client, from its opening to its closing."""
    return _PROCESS + uuid.uuid4().hex[:16]


def new_epoch() -> int:
    """A number for one claim on a key: unique, and greater than those of earlier claims as far as clocks agree.

    Milliseconds since 1970 and 12 random bits; less than 2**53, because numbers of a Lua script are doubles.
    """
    return time.time_ns() // 1_000_000 << 12 | secrets.randbits(12)


def time_since_boot() -> float:
    """Seconds on a clock that also runs while the machine is suspended, where the system has one."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


class _ProcessOwners(LocalOwners):
    """The clients of this process, for a store that does not tell which owners are alive."""

    async def is_gone(self, record: Record) -> bool:
        """Whether the owner was a client of this process and was closed, or there is none."""
        return not record.owner or (record.owner.startswith(_PROCESS) and await super().is_gone(record))


_process_owners = _ProcessOwners()


def owners_of(store: JobStore) -> Owners:
    """What tells which owners of a store's records are alive; a store of one's own may have nothing for it."""
    owners: Owners = getattr(store, "owners", _process_owners)
    return owners
