"""Who opened a record: enough to know, on the same machine, that it is gone."""

from __future__ import annotations

import os
import socket
import uuid

_owners: set[str] = set()


def register_owner() -> str:
    """A name for one client of this process, from its opening until `has_left`."""
    owner = f"{uuid.uuid4().hex}@{socket.gethostname()}:{os.getpid()}"
    _owners.add(owner)
    return owner


def unregister_owner(owner: str) -> None:
    """The client of that name was closed."""
    _owners.discard(owner)


def owner_is_dead(owner: str) -> bool:
    """Whether the owner is certainly gone; False where that cannot be told, as on another machine."""
    host, _, pid = owner.partition("@")[2].rpartition(":")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    if int(pid) == os.getpid():  # closed, or of a process that had this number before: a container's has few
        return owner not in _owners
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
