"""What can be wrong with Redis, told apart: a broken way, a server that cannot write, a call it refuses."""

from __future__ import annotations

from typing import Any

from ...errors import StoreError

# what a server says that can write nothing at the moment: as good as gone
_UNFIT = (
    "READONLY",
    "OOM",
    "OUTOFMEMORY",
    "MISCONF",
    "LOADING",
    "BUSY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "NOREPLICAS",
    "UNBLOCKED",
)
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "AUTHENTICATION", "invalid username-password", "invalid password")


class OutOfReach(StoreError):
    """Nothing can be written at the moment, whatever it is."""


def severed(error: Exception) -> bool:
    """Whether a connection broke, as opposed to a server that does not answer."""
    from redis import exceptions  # noqa: PLC0415 - an optional extra

    return isinstance(error, exceptions.ConnectionError | OSError) and not isinstance(error, TimeoutError)


def named(answer: Any, *words: str) -> bool:
    """Whether it is an error of that name: redis-py's or Redis's own."""
    return isinstance(answer, Exception) and any(
        type(answer).__name__.upper().startswith(word) or str(answer).startswith(word) for word in words
    )


def unfit(error: Exception) -> bool:
    """Whether an answer says something about the server rather than about the call."""
    return named(error, *_UNFIT)


def reason(error: Exception) -> str:
    """What went wrong, in a line."""
    if named(error, *_REFUSED):
        return "it refuses the user or password of the URL"
    text = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
