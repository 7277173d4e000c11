"""CPU per job, ours against aiohttp by hand: one submit and the same looks a job, both in one run.

python benchmarks/overhead.py [--jobs 2000] [--rounds 5] [--check]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from attrs import frozen

sys.path.append(str(Path(__file__).parents[1]))  # a clone needs no installation

import aiowatermark as aw
from benchmarks import stub
from benchmarks.measure import Report, interleaved, ratio

IN_FLIGHT = 256
PAUSE = 0.02
LOOKS = 2
BOUND = 1.3
KEY = "benchmark-key"


@frozen
class Clean:
    """What a careful hand makes of an answer."""

    task_id: str
    link: str


ByHand = Callable[[aiohttp.ClientSession, str], Awaitable[Clean]]


async def picwish_by_hand(session: aiohttp.ClientSession, link: str) -> Clean:
    """PicWish as one writes it oneself: a form, then looks at the task."""
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("url", link)
    async with session.post(stub.PICWISH, data=form) as reply:
        task_id = (await reply.json())["data"]["task_id"]
    while True:
        await asyncio.sleep(PAUSE)
        async with session.get(f"{stub.PICWISH}/{task_id}") as reply:
            task = (await reply.json())["data"]
        if task["state"] == 1:
            return Clean(task["task_id"], task["file"])


async def kaze_by_hand(session: aiohttp.ClientSession, link: str) -> Clean:
    """Kaze as one writes it oneself: JSON there and back."""
    async with session.post(stub.KAZE_SUBMIT, json={"image_url": link}) as reply:
        task_id = (await reply.json())["data"]["task_id"]
    while True:
        await asyncio.sleep(PAUSE)
        async with session.post(stub.KAZE_LOOK, json={"task_id": task_id}) as reply:
            task = (await reply.json())["data"]
        if task["status"] == "success":
            return Clean(task_id, task["images"][0]["url"])


def links(jobs: int) -> list[str]:
    return [f"https://example.com/pictures/{number}.jpg" for number in range(jobs)]


async def by_hand(one: ByHand, origin: str, headers: dict[str, str], jobs: int) -> None:
    """A task a job under one semaphore, over one session."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def job(link: str) -> Clean:
        async with room:
            return await one(session, link)

    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(origin, headers=headers, timeout=timeout, raise_for_status=True) as session:
        results = await asyncio.gather(*map(job, links(jobs)))
    assert all(result.link == f"{origin}/result.jpg" for result in results)


def client(provider: aw.Provider) -> aw.Client:
    """A client with the same freedom: as many requests at once as jobs, and the same pauses."""
    limits = aw.Limits(submissions=IN_FLIGHT, in_flight=IN_FLIGHT)
    return aw.Client(provider, limits=limits, polling=aw.Polling(first=PAUSE, factor=1.0))


async def by_stream(provider: aw.Provider, jobs: int) -> None:
    """Ours, the way for many: `client.stream`."""
    async with client(provider) as opened:
        outcomes = [outcome async for outcome in opened.stream(links(jobs))]
    assert len(outcomes) == jobs
    assert all(isinstance(done, aw.Done) and done.result.url == f"{provider.base_url}/result.jpg" for done in outcomes)


async def by_remove(provider: aw.Provider, jobs: int) -> None:
    """Ours, one `client.remove` in a task of its own a job."""
    async with client(provider) as opened:
        results = await asyncio.gather(*(opened.remove(link) for link in links(jobs)))
    assert all(result.url == f"{provider.base_url}/result.jpg" for result in results)


async def compare(report: Report, name: str, one: ByHand, provider: aw.Provider, options: argparse.Namespace) -> None:
    """One dialect: by hand, by `stream`, by `remove`, in turns."""
    jobs = options.jobs
    spent = await interleaved(
        options.rounds,
        {
            "by hand": lambda: by_hand(one, provider.base_url, dict(provider.headers), jobs),
            "stream": lambda: by_stream(provider, jobs),
            "remove": lambda: by_remove(provider, jobs),
        },
    )
    for way, seconds in spent.items():
        report.line(f"{name}, {way}", f"{statistics.median(seconds) / jobs * 1e3:8.3f} ms CPU a job")
    for way in ("stream", "remove"):
        report.bound(f"{name}, {way} / by hand", ratio(spent[way], spent["by hand"]), BOUND, "x")


def fair(report: Report, server: stub.Running, options: argparse.Namespace) -> None:
    """Everybody asked the same number of times, or nothing was shown."""
    counts, runs = server.counts(), (options.rounds + 1) * 3 * options.jobs
    report.line("requests at the stub", f"{counts['submits']} submits, {counts['looks']} looks")
    report.require("each side is to make the same requests", true=counts["submits"] == runs)
    report.require("each side is to look as often", true=counts["looks"] == runs * (LOOKS + 1))


def main() -> int:
    """Both dialects, then the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    report = Report(options.check, options.allow)
    report.line("what", f"{options.jobs} jobs, {IN_FLIGHT} in flight, 1 submit + {LOOKS + 1} looks each")
    with stub.running(looks=LOOKS) as server:
        picwish = aw.PicWish(KEY, base_url=server.origin, requests_per_second=None)
        asyncio.run(compare(report, "PicWish (form)", picwish_by_hand, picwish, options))
        fair(report, server, options)
    with stub.running(looks=LOOKS) as server:
        kaze = aw.Kaze(KEY, base_url=server.origin, requests_per_second=None)
        asyncio.run(compare(report, "Kaze (JSON)", kaze_by_hand, kaze, options))
        fair(report, server, options)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
