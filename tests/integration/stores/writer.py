"""Another process that writes to a SQLite store: `writer.py PATH PREFIX OWNER COUNT`.

It prints `KEY VERSION` for each record once the store has acknowledged the write.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator

from aiowatermark.jobs import INITIAL_SNAPSHOT, Output, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.sqlite.store import SQLiteStore

CONCURRENCY = 50


def print_line(*words: object) -> None:
    # unbuffered: a line that was printed must survive a kill
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def run_job(store: SQLiteStore, key: str, owner: str) -> None:
    """Write a job's records from its opening to its end; about every seventh job ends with bytes."""
    record = Record(key, "picwish", INITIAL_SNAPSHOT, owner=owner)
    if await store.open(record) is not None:
        return
    print_line(key, record.version)
    outputs = (Output(Bytes(key.encode())),) if hash(key) % 7 == 0 else ()
    for status in (Status.QUEUED, Status.RUNNING, Status.SUCCEEDED):
        record = record.advance(Snapshot("task-1", status, outputs=outputs if status is Status.SUCCEEDED else ()))
        assert await store.put(record) is record
        print_line(key, record.version)


async def main(path: str, prefix: str, owner: str, count: str) -> None:
    keys: Iterator[str] = (f"{prefix}-{number}" for number in range(int(count)))

    async def run_jobs() -> None:
        for key in keys:
            await run_job(store, key, owner)

    async with SQLiteStore(path) as store:
        await asyncio.gather(*(run_jobs() for _ in range(CONCURRENCY)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
