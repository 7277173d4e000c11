"""The summary of a Redis store: a scan of its keys that reads the records in pages, without holding the server up."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress

from ..summary import StoreSummary, SummaryBuilder
from .connection import Connection
from .keys import RedisKeys
from .scripts import SCAN_RECORDS

_PAGE = 1000
_DIGEST_LENGTH = 32
_GLOB = re.compile(r"([\\*?\[\]^-])")


async def read_summary(connection: Connection, keys: RedisKeys) -> StoreSummary:
    """Count the jobs of all accounts; raises StoreError. Jobs that change meanwhile count as before or after."""
    pattern = _GLOB.sub(r"\\\1", keys.job("").record.removesuffix("}")) + "?" * _DIGEST_LENGTH + "}"
    builder, cursor, seen = SummaryBuilder(), b"0", set[bytes]()
    while True:
        ((cursor, page),) = await connection.execute(SCAN_RECORDS((), cursor, pattern, _PAGE))
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
