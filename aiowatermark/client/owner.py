"""Who opened a record: enough to know, on the same machine, that its process is gone."""

from __future__ import annotations

import os
import socket
import uuid


def new_owner() -> str:
    """A name for one client of this process."""
    return f"{uuid.uuid4().hex}@{socket.gethostname()}:{os.getpid()}"


def gone(owner: str) -> bool:
    """Whether the owner's process is certainly gone; False where that cannot be told, as on another machine."""
    host, _, pid = owner.partition("@")[2].rpartition(":")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
