"""Reads many records of a Redis store, in pages that do not hold the server up: the open ones, or all to count them."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import islice

from attrs import define

from ...jobs import Record
from ..summary import StoreSummary, SummaryBuilder
from . import records as rows
from .connection import Connection
from .keys import Command, RedisKeys
from .membership import Membership
from .scripts import SCAN_RECORDS, SCAN_UNFINISHED

_SUMMARY_PAGE = 1000
_INDEX_PAGE = 5000
_LOAD_BATCH = 200
# seconds; a younger index entry without a record may belong to a record that is about to be written
_STALE_INDEX_AGE = 3600.0
_DIGEST_LENGTH = 32
_GLOB = re.compile(r"([\\*?\[\]^-])")


async def read_summary(connection: Connection, keys: RedisKeys) -> StoreSummary:
    """Count the jobs of all accounts; raises StoreError. Jobs that change meanwhile count as before or after."""
    pattern = _GLOB.sub(r"\\\1", keys.job("").record.removesuffix("}")) + "?" * _DIGEST_LENGTH + "}"
    builder, cursor, seen = SummaryBuilder(), b"0", set[bytes]()
    while True:
        ((cursor, page),) = await connection.execute(SCAN_RECORDS((), cursor, pattern, _SUMMARY_PAGE))
        for key, record in zip(page[::2], page[1::2], strict=True):
            if key not in seen:  # a scan may return a key twice
                seen.add(key)
                _add(record, builder)
        if cursor == b"0":
            return builder.build(complete=True)
        await asyncio.sleep(0)


def _add(record: bytes, builder: SummaryBuilder) -> None:
    with suppress(ValueError):  # a damaged record is left out: `jobs` reports it
        builder.add_json(json.loads(record))


@define(eq=False)
class RecordIndex:
    """The index of unfinished jobs, and of results that were not acknowledged yet, in all accounts."""

    connection: Connection
    keys: RedisKeys
    membership: Membership

    async def records(self) -> AsyncIterator[Record]:
        """Iterate over the records in the index: those of unfinished jobs, and of results not acknowledged yet."""
        index = iter(sorted(await self._load_index()))
        while entries := list(islice(index, _LOAD_BATCH)):
            records = await rows.load_many(self.connection, self.keys, [job for _, _, job in entries])
            for (created, account, job), record in zip(entries, records, strict=True):
                # a version that is not written yet is newer
                latest = None if record is None else self.membership.backlog.unwritten_record(record.key) or record
                if latest is None or (latest.snapshot.status.terminal and latest.acknowledged):
                    self._remove_index_entry(created, account, job, missing=latest is None)
                else:
                    yield latest

    async def _load_index(self) -> Sequence[tuple[float, str, str]]:
        """Return creation time, account and job of every index entry; accounts and jobs are digests."""
        (accounts,) = await self.connection.execute(Command("SMEMBERS", (self.keys.accounts,)))
        entries: dict[tuple[str, str], float] = {}
        for account in (name.decode() for name in accounts):
            keys, cursor = self.keys.account(account, "unfinished"), b""
            while cursor != b"0":
                # a scan may return an entry twice, hence the dict
                ((cursor, page),) = await self.connection.execute(SCAN_UNFINISHED(keys, cursor or b"0", _INDEX_PAGE))
                # the page is flat: job, creation time, job, creation time …
                pairs = zip(page[::2], page[1::2], strict=True)
                entries.update(((account, job.decode()), float(created)) for job, created in pairs)
        return [(created, account, job) for (account, job), created in entries.items()]

    def _remove_index_entry(self, created: float, account: str, job: str, *, missing: bool) -> None:
        """Remove an index entry without an unfinished record, unless its record may be about to be written."""
        if not missing or created < time.time() - _STALE_INDEX_AGE:
            end = self.membership.leases.end_lease_by_digest(account, job, "ended", f"{created:.6f}")
            self.membership.backlog.defer(end)
