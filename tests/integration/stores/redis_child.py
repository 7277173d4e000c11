"""A replica in a process of its own, to be killed. Run: redis_child.py URL PREFIX LEASE WHAT [N]."""

from __future__ import annotations

import asyncio
import sys

from aiowatermark import RedisStore
from aiowatermark.jobs import Record, Snapshot, Status

ACCOUNT = "kaze-1"


async def main(url: str, prefix: str, lease: str, what: str, number: int = 0) -> None:
    async with RedisStore(url, prefix=prefix, lease=float(lease)) as store:
        if what == "open":  # of keys that another process wants too
            keys = [f"job-{each}" for each in range(number)]
            say("ready")
            await asyncio.to_thread(sys.stdin.readline)
            known = await asyncio.gather(*(store.open(Record(key, "kaze", account=ACCOUNT)) for key in keys))
            say(",".join(key for key, other in zip(keys, known, strict=True) if other is None))
        if what == "watch":
            for each in range(number):
                mine = Record(f"job-{each}", "kaze", account=ACCOUNT)
                await store.open(mine)
                await store.put(mine.advance(Snapshot(f"task-{each}", Status.QUEUED)))
            say("ready")
            await asyncio.sleep(60)
        if what == "permit":
            async with store.coordinator.slot(ACCOUNT, number):
                say("ready")
                await asyncio.sleep(60)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    words = sys.argv[1:]
    asyncio.run(main(*words[:4], *map(int, words[4:])))  # type: ignore[arg-type]
