"""Names the client that created a record, and tells whether that client is certainly dead (same machine only)."""

from __future__ import annotations

import os
import socket
import uuid

_owners: set[str] = set()
"""The open clients of this process."""


def register_owner() -> str:
    """A name for one client of this process, which lives until `unregister_owner`."""
    owner = f"{uuid.uuid4().hex}@{socket.gethostname()}:{os.getpid()}"
    _owners.add(owner)
    return owner


def unregister_owner(owner: str) -> None:
    """The client of that name was closed."""
    _owners.discard(owner)


def owner_is_dead(owner: str) -> bool:
    """Whether the owner is certainly dead; False where that is not known, as on another machine."""
    host, _, pid = owner.partition("@")[2].rpartition(":")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    if int(pid) == os.getpid():
        # closed, or created by an earlier process with the same pid: containers reuse low pids
        return owner not in _owners
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
