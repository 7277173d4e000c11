"""One replica of a service, as a process: submits jobs with a shared Redis store, then waits to be killed.

    python replica.py REDIS_URL BASE_URL API_KEY COUNT

Prints `submitted` when all COUNT jobs (keys job-0, job-1 ...) are accepted. It never waits for a result: another
replica must.
"""

from __future__ import annotations

import asyncio
import sys

import aiowatermark as aw
from tests.support.images import make_jpeg


async def main(url: str, base_url: str, key: str, count: str) -> None:
    provider = aw.GptGe(key, base_url=base_url, polling=aw.Polling(0.05, 1.0, 0.1))
    # a lease of half a second, so that the other replica adopts the jobs soon after the kill
    async with aw.Client(provider, store=aw.RedisStore(url, lease=0.5), deadline=60) as client:
        jobs = (client.submit(make_jpeg(padding=number), key=f"job-{number}") for number in range(int(count)))
        await asyncio.gather(*jobs)
        print("submitted", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
