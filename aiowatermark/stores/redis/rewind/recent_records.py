"""Recent records: those that this replica no longer watches and that a rewind may still make the server forget.

A job that was finished half a second ago is charged like one that is running. If the server forgets both, only the
running one is still known here as leased; so the others are kept for a while, too.
"""

from __future__ import annotations

from typing import NamedTuple

from attrs import define, field

from ....jobs import Record
from ....media.memory import Base64Text, Bytes

RECENT_SECONDS = 10.0
"""Much longer than `appendfsync everysec` (two seconds) and the usual lag of a replica."""
_MAX_RECORDS, _MAX_MEDIA_BYTES = 10_000, 32 << 20


class RecentRecord(NamedTuple):
    """A record, how its lease ended (`mode` of END_LEASE), and when it was added."""

    record: Record
    mode: str
    added: float


@define(eq=False)
class RecentRecords:
    """Bounded in number and in bytes of media: the oldest, or the oldest with media, are dropped first."""

    _entries: dict[str, RecentRecord] = field(factory=dict, init=False)
    _media_bytes: int = field(default=0, init=False)

    def add(self, record: Record, mode: str, now: float) -> None:
        """Keep the latest version of a record whose lease was ended."""
        known = self._entries.get(record.key)
        if known is not None and not newer(record, known.record):
            return
        self.drop(record.key)
        self._entries[record.key] = RecentRecord(record, mode, now)
        self._media_bytes += media_bytes(record)
        if len(self._entries) > _MAX_RECORDS:
            self.drop(next(iter(self._entries)))
        while self._media_bytes > _MAX_MEDIA_BYTES:
            self.drop(next(key for key, entry in self._entries.items() if media_bytes(entry.record)))

    def drop(self, key: str) -> None:
        """Keep a record no longer: it is leased again, or was forgotten."""
        if (entry := self._entries.pop(key, None)) is not None:
            self._media_bytes -= media_bytes(entry.record)

    def expire(self, now: float) -> None:
        """Drop the records that are old; call it only while the server is known not to have been rewound."""
        for key, entry in list(self._entries.items()):
            if entry.added > now - RECENT_SECONDS:
                return  # the others were added later
            self.drop(key)

    def entries(self) -> list[RecentRecord]:
        """Return all records that are kept, the oldest first."""
        return list(self._entries.values())


def newer(record: Record, known: Record) -> bool:
    """Whether a record is a later version than another one, however many versions are between them."""
    return (record.epoch, record.version) > (known.epoch, known.version)


def media_bytes(record: Record) -> int:
    media = (output.media for output in record.snapshot.outputs)
    return sum(each.size for each in media if isinstance(each, Base64Text | Bytes))
