"""Errors of redis-py and error replies of Redis: what they say about the server."""

from __future__ import annotations

from typing import Any

from ....connection_errors import connection_problem

# error replies of a server that can write nothing at the moment: an outage, not a mistake in the command
_CANNOT_WRITE_REPLIES = ("OOM", "OUTOFMEMORY", "MISCONF", "BUSY", "NOREPLICAS")
# those of a server that is not a primary at the moment: another one may be by now, under the same name
_NOT_PRIMARY_REPLIES = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED")
_REFUSED_REPLIES = ("NOAUTH", "WRONGPASS", "NOPERM", "AUTHENTICATION", "invalid username-password", "invalid password")

_MAX_CAUSES = 5


class ConnectionRefused(Exception):
    """A new connection must not be used; the text says why."""


def is_connection_error(error: Exception) -> bool:
    """Whether the connection broke, as opposed to a server that did not answer in time."""
    from redis import exceptions  # noqa: PLC0415 - an optional extra

    return isinstance(error, exceptions.ConnectionError | OSError) and not isinstance(error, TimeoutError)


def reply_starts_with(reply: Any, *words: str) -> bool:
    """Whether a reply is an error of one of these names, by its class in redis-py or by the text Redis sent."""
    return isinstance(reply, Exception) and any(
        type(reply).__name__.upper().startswith(word) or str(reply).startswith(word) for word in words
    )


def server_cannot_write(error: Exception) -> bool:
    """Whether an error reply is about the state of the server rather than about the command."""
    return reply_starts_with(error, *_CANNOT_WRITE_REPLIES, *_NOT_PRIMARY_REPLIES)


def is_not_primary(error: Exception) -> bool:
    """Whether an error reply is that of a server that is not a primary at the moment."""
    return reply_starts_with(error, *_NOT_PRIMARY_REPLIES)


def describe_error(error: Exception) -> str:
    """Return what went wrong, on one line; refused credentials are not quoted."""
    if reply_starts_with(error, *_REFUSED_REPLIES):
        return "it refuses the user or password of the URL"
    if isinstance(error, ConnectionRefused):
        return str(error)
    # redis-py quotes Python's form of addresses; what it was about is in the error that it met
    if (met := _system_error(error)) is not None:
        return connection_problem(met)
    return str(error).partition("\n")[0][:200].rstrip(".") or connection_problem(error)


def _system_error(error: BaseException) -> OSError | None:
    """Return the error of the operating system that an error is, or was raised for."""
    seen: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if isinstance(seen, OSError):
            return seen
        seen = None if seen is None else seen.__cause__ or seen.__context__
    return None
