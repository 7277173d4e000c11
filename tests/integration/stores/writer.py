"""Another process on one file: `writer.py PATH PREFIX OWNER COUNT`. It says each thing once it is on the disk."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator

from aiowatermark.jobs import INITIAL_SNAPSHOT, Output, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.sqlite.store import SQLiteStore

AT_ONCE = 50


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def life(store: SQLiteStore, key: str, owner: str) -> None:
    """A job from its opening to its end; every seventh ends with bytes."""
    record = Record(key, "picwish", INITIAL_SNAPSHOT, owner=owner)
    if await store.open(record) is not None:
        return
    say(key, record.version)
    outputs = (Output(Bytes(key.encode())),) if hash(key) % 7 == 0 else ()
    for status in (Status.QUEUED, Status.RUNNING, Status.SUCCEEDED):
        record = record.advance(Snapshot("task-1", status, outputs=outputs if status is Status.SUCCEEDED else ()))
        assert await store.put(record) is record
        say(key, record.version)


async def main(path: str, prefix: str, owner: str, count: str) -> None:
    keys: Iterator[str] = (f"{prefix}-{number}" for number in range(int(count)))

    async def work() -> None:
        for key in keys:
            await life(store, key, owner)

    async with SQLiteStore(path) as store:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
