"""A replica in another process, which tests kill. Run: redis_child.py URL PREFIX LEASE MODE [COUNT]."""

from __future__ import annotations

import asyncio
import sys

from aiowatermark import RedisStore
from tests.support.records import ACCOUNT, accept, make_record


async def main(url: str, prefix: str, lease: str, mode: str, count: int = 0) -> None:
    async with RedisStore(url, prefix=prefix, lease=float(lease)) as store:
        if mode == "open":  # the parent opens the same keys; print those that this process has inserted
            keys = [f"job-{number}" for number in range(count)]
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            known = await asyncio.gather(*(store.open(make_record(key)) for key in keys))
            print(",".join(key for key, other in zip(keys, known, strict=True) if other is None), flush=True)
        if mode == "watch":
            for number in range(count):
                record = make_record(f"job-{number}")
                await store.open(record)
                await store.put(accept(record, f"task-{number}"))
            print("ready", flush=True)
            await asyncio.sleep(60)
        if mode == "slot":
            async with store.coordinator.slot(ACCOUNT, count):
                print("ready", flush=True)
                await asyncio.sleep(60)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(*arguments[:4], *map(int, arguments[4:])))  # type: ignore[arg-type]
