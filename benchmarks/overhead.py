"""Benchmark of CPU per job: this package compared with hand-written aiohttp, same submissions and polls, in one run.

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

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

import aiowatermark as aw
from benchmarks import fake_api
from benchmarks.measure import Report, measure_interleaved, median_ratio

IN_FLIGHT = 256
CONNECTIONS = 100  # aiohttp's own limit; each submission that is under way has one
INTERVAL = 0.02
UNFINISHED_POLLS = 2
BOUND = 1.3
KEY = "benchmark-key"


@frozen
class ParsedResult:
    """What hand-written code keeps of an answer."""

    task_id: str
    url: str


Baseline = Callable[[aiohttp.ClientSession, str], Awaitable[ParsedResult]]


async def picwish_by_hand(session: aiohttp.ClientSession, url: str) -> ParsedResult:
    """Process one image with PicWish: submit a multipart form, then poll the task."""
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("url", url)
    async with session.post(fake_api.PICWISH, data=form) as response:
        task_id = (await response.json())["data"]["task_id"]
    while True:
        await asyncio.sleep(INTERVAL)
        async with session.get(f"{fake_api.PICWISH}/{task_id}") as response:
            task = (await response.json())["data"]
        if task["state"] == 1:
            return ParsedResult(task["task_id"], task["file"])


async def kaze_by_hand(session: aiohttp.ClientSession, url: str) -> ParsedResult:
    """Process one image with Kaze: submit JSON, then poll the task."""
    async with session.post(fake_api.KAZE_SUBMIT, json={"image_url": url}) as response:
        task_id = (await response.json())["data"]["task_id"]
    while True:
        await asyncio.sleep(INTERVAL)
        async with session.post(fake_api.KAZE_QUERY, json={"task_id": task_id}) as response:
            task = (await response.json())["data"]
        if task["status"] == "success":
            return ParsedResult(task_id, task["images"][0]["url"])


def image_urls(jobs: int) -> list[str]:
    return [f"https://example.com/images/{number}.jpg" for number in range(jobs)]


async def run_by_hand(baseline: Baseline, origin: str, headers: dict[str, str], jobs: int) -> None:
    """Process all jobs by hand: one task per job, one semaphore, one session."""
    semaphore = asyncio.Semaphore(IN_FLIGHT)

    async def run_job(url: str) -> ParsedResult:
        async with semaphore:
            return await baseline(session, url)

    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(origin, headers=headers, timeout=timeout, raise_for_status=True) as session:
        results = await asyncio.gather(*map(run_job, image_urls(jobs)))
    assert all(result.url == f"{origin}/result.jpg" for result in results)


def make_client(provider: aw.Provider) -> aw.Client:
    """Return a client with the baseline's limits: jobs in flight, connections for submissions, and polling interval."""
    limits = aw.Limits(submissions=CONNECTIONS, in_flight=IN_FLIGHT)
    return aw.Client(provider, limits=limits, polling=aw.Polling(first=INTERVAL, factor=1.0))


async def run_by_stream(provider: aw.Provider, jobs: int) -> None:
    """Process all jobs with `client.stream`."""
    async with make_client(provider) as client:
        outcomes = [outcome async for outcome in client.stream(image_urls(jobs))]
    assert len(outcomes) == jobs
    assert all(isinstance(done, aw.Done) and done.result.url == f"{provider.base_url}/result.jpg" for done in outcomes)


async def run_by_remove(provider: aw.Provider, jobs: int) -> None:
    """Process all jobs with `client.remove`, one task per job."""
    async with make_client(provider) as client:
        results = await asyncio.gather(*(client.remove(url) for url in image_urls(jobs)))
    assert all(result.url == f"{provider.base_url}/result.jpg" for result in results)


async def compare(
    report: Report, label: str, baseline: Baseline, provider: aw.Provider, options: argparse.Namespace
) -> None:
    """Compare the three ways on one provider."""
    jobs = options.jobs
    spent = await measure_interleaved(
        options.rounds,
        {
            "by hand": lambda: run_by_hand(baseline, provider.base_url, dict(provider.headers), jobs),
            "stream": lambda: run_by_stream(provider, jobs),
            "remove": lambda: run_by_remove(provider, jobs),
        },
    )
    for name, seconds in spent.items():
        report.line(f"{label}, {name}", f"{statistics.median(seconds) / jobs * 1e3:8.3f} ms CPU per job")
    for name in ("stream", "remove"):
        report.bound(f"{label}, {name} / by hand", median_ratio(spent[name], spent["by hand"]), BOUND, "x")


def require_equal_requests(report: Report, api: fake_api.RunningApi, options: argparse.Namespace) -> None:
    """Exit unless all ways made the same number of requests: otherwise the comparison means nothing."""
    counts, jobs = api.counts(), (options.rounds + 1) * 3 * options.jobs
    report.line("requests received", f"{counts['submissions']} submissions, {counts['polls']} polls")
    report.require("every job must be submitted once", true=counts["submissions"] == jobs)
    report.require("every job must be polled equally often", true=counts["polls"] == jobs * (UNFINISHED_POLLS + 1))


def main() -> int:
    """Compare on PicWish (multipart) and Kaze (JSON)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    report = Report(options.check, options.allow)
    requests = f"1 submission and {UNFINISHED_POLLS + 1} polls each"
    report.line("workload", f"{options.jobs} jobs, {IN_FLIGHT} in flight, {requests}")
    with fake_api.run_in_subprocess(polls=UNFINISHED_POLLS) as api:
        picwish = aw.PicWish(KEY, base_url=api.origin, requests_per_second=None)
        asyncio.run(compare(report, "PicWish (multipart)", picwish_by_hand, picwish, options))
        require_equal_requests(report, api, options)
    with fake_api.run_in_subprocess(polls=UNFINISHED_POLLS) as api:
        kaze = aw.Kaze(KEY, base_url=api.origin, requests_per_second=None)
        asyncio.run(compare(report, "Kaze (JSON)", kaze_by_hand, kaze, options))
        require_equal_requests(report, api, options)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
