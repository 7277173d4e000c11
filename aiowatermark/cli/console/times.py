"""Times for people."""

from __future__ import annotations

from datetime import UTC, datetime


def local_time(seconds: float) -> str:
    """Return a time since 1970 as local time, with its offset from UTC."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(timespec="seconds")
