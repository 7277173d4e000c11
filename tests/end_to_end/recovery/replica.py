"""One replica of a service: submits jobs with a shared store, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys

import aiowatermark as aw

from_parent = sys.argv[1:]


async def main(url: str, base_url: str, key: str, count: str) -> None:
    provider = aw.GptGe(key, base_url=base_url, polling=aw.Polling(0.05, 1.0, 0.1))
    async with aw.Client(provider, store=aw.RedisStore(url, lease=0.5), deadline=60) as client:
        picture = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x18\x00\x20\x03" + b"\x01\x11\x00" * 3
        jobs = (client.submit(picture + bytes(number), key=f"job-{number}") for number in range(int(count)))
        await asyncio.gather(*jobs)
        print("submitted", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*from_parent))
