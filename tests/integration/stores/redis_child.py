"""A replica in another process, which tests kill. Run: redis_child.py URL PREFIX LEASE MODE [COUNT]."""

from __future__ import annotations

import asyncio
import sys

from aiowatermark import RedisStore
from aiowatermark.jobs import Record, Snapshot, Status

ACCOUNT = "kaze-1"


async def main(url: str, prefix: str, lease: str, mode: str, count: int = 0) -> None:
    async with RedisStore(url, prefix=prefix, lease=float(lease)) as store:
        if mode == "open":  # the parent opens the same keys; print those that this process has inserted
            keys = [f"job-{number}" for number in range(count)]
            print_line("ready")
            await asyncio.to_thread(sys.stdin.readline)
            known = await asyncio.gather(*(store.open(Record(key, "kaze", account=ACCOUNT)) for key in keys))
            print_line(",".join(key for key, other in zip(keys, known, strict=True) if other is None))
        if mode == "watch":
            for number in range(count):
                record = Record(f"job-{number}", "kaze", account=ACCOUNT)
                await store.open(record)
                await store.put(record.advance(Snapshot(f"task-{number}", Status.QUEUED)))
            print_line("ready")
            await asyncio.sleep(60)
        if mode == "slot":
            async with store.coordinator.slot(ACCOUNT, count):
                print_line("ready")
                await asyncio.sleep(60)


def print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(*arguments[:4], *map(int, arguments[4:])))  # type: ignore[arg-type]
