"""Benchmark of large transfers: this package compared with plain aiohttp and curl, and its effect on the event loop.

    python benchmarks/transfer.py [--mib 1024] [--rounds 7] [--check]

Uploads are read from the page cache; results are written to /dev/shm where it exists, so that no disk decides the
outcome. The aiohttp baseline reads and writes files inline: it blocks the loop when a disk is slow, and is the fastest
that aiohttp can do. It is measured with four block sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from attrs import define, field, frozen

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.media.files import File
from aiowatermark.transport.http import HttpTransport
from aiowatermark.wire import Request, Response
from benchmarks import baseline_client, file_server
from benchmarks.measure import MIB, Report, peak_bytes, percentile, reset_peak, resident_bytes

NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
CONCURRENCY = 4
WAITING_JOBS = 200
TICK = 0.005
POLL_INTERVAL = 1.0
API_LATENCY = 0.02
"""Seconds the API takes to answer a poll, as if a network were in between."""
THROUGHPUT_BOUND = 1 / 0.95
CPU_BOUND = 1.1
MEMORY_BOUND = 24.0
POLL_BOUND = 2.0
TICK_P99_BOUND, TICK_MAX_BOUND = 10.0, 50.0

Run = Callable[[], Awaitable[object]]


@define
class TimedTransport(HttpTransport):
    """An HttpTransport that records the duration of each poll in seconds."""

    poll_seconds: list[float] = field(factory=list)

    async def perform(self, request: Request, **settings: Any) -> Response:
        before = time.perf_counter()
        response = await super().perform(request, **settings)
        if request.method == "GET":
            self.poll_seconds.append(time.perf_counter() - before)
        return response


@frozen
class Setup:
    """The two servers, the file to upload and the folder for results."""

    storage: str
    api: str
    video: Path
    results: Path

    async def upload(self, transport: HttpTransport) -> None:
        put = Request("PUT", f"{self.storage}/up/video?sig=1", File(self.video), signed=True, repeatable=True)
        response = await transport.perform(put, timeout=60)
        assert response.status == 200

    async def download(self, transport: HttpTransport, name: str = "aiowatermark") -> None:
        await transport.download(f"{self.storage}/down/video?sig=1", self.results / name, None)


@frozen
class Cost:
    """What one run took: wall-clock seconds, and CPU seconds of this process and its children."""

    wall: float
    cpu: float


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


async def measure_run(run: Run) -> Cost:
    wall, cpu = time.perf_counter(), _cpu_seconds()
    await run()
    return Cost(time.perf_counter() - wall, _cpu_seconds() - cpu)


async def measure_interleaved(rounds: int, runs: Mapping[str, Run], results: Path) -> dict[str, list[Cost]]:
    """Run all in turn (A B C A B C …) after one warm-up round; each run begins with an empty results folder."""
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            for old in results.iterdir():
                old.unlink()
            cost = await measure_run(run)
            if number:
                costs[name].append(cost)
    return costs


def compare(report: Report, direction: str, gib: float, costs: Mapping[str, list[Cost]]) -> None:
    """Compare this package with the fastest and with the leanest aiohttp variant."""
    # the median, not the minimum: a machine has quick phases, and one of four baselines is likelier to meet one alone
    wall = {name: median(cost.wall for cost in runs) / gib for name, runs in costs.items()}
    cpu = {name: median(cost.cpu for cost in runs) / gib for name, runs in costs.items()}
    for name in costs:
        report.line(f"{direction}, {name}", f"{1 / wall[name]:6.2f} GiB/s {cpu[name]:8.3f} CPU s per GiB")
    baselines = [name for name in costs if name.startswith("aiohttp")]
    fastest, leanest = min(baselines, key=wall.__getitem__), min(baselines, key=cpu.__getitem__)
    report.bound(f"{direction}, time / {fastest}", wall["aiowatermark"] / wall[fastest], THROUGHPUT_BOUND, "x")
    report.bound(f"{direction}, CPU / {leanest}", cpu["aiowatermark"] / cpu[leanest], CPU_BOUND, "x")


async def measure_speed(report: Report, setup: Setup, transport: HttpTransport, options: argparse.Namespace) -> None:
    """Measure throughput and CPU of one transfer at a time."""
    base, target = baseline_client, setup.results / "aiohttp"
    async with aiohttp.ClientSession(timeout=NO_TIMEOUT, read_bufsize=1 << 18) as session:
        uploads: dict[str, Run] = {
            f"aiohttp {name}": lambda block=block: base.upload(session, setup.storage, setup.video, block)  # type: ignore[misc]
            for name, block in base.BLOCK_SIZES.items()
        }
        downloads: dict[str, Run] = {
            f"aiohttp {name}": lambda block=block: base.download(session, setup.storage, target, block)  # type: ignore[misc]
            for name, block in base.BLOCK_SIZES.items()
        }
        if shutil.which("curl"):
            header = f"Content-Type: {base.CONTENT_TYPE}"
            uploads["curl"] = lambda: base.curl("-H", header, "-T", str(setup.video), f"{setup.storage}/up/video")
            downloads["curl"] = lambda: base.curl("-o", str(setup.results / "curl"), f"{setup.storage}/down/video")
        uploads["aiowatermark"] = lambda: setup.upload(transport)
        downloads["aiowatermark"] = lambda: setup.download(transport)
        for direction, runs in (("upload", uploads), ("download", downloads)):
            compare(
                report, direction, options.mib / 1024, await measure_interleaved(options.rounds, runs, setup.results)
            )


async def measure_memory(report: Report, setup: Setup, transport: HttpTransport) -> None:
    """Measure by how much one transfer each way, and eight at the same time, raise the peak memory."""
    for label, transfers in (
        ("upload", [setup.upload(transport)]),
        ("download", [setup.download(transport)]),
        (f"{CONCURRENCY} uploads and {CONCURRENCY} downloads", concurrent_transfers(setup, transport)),
    ):
        reset_peak()
        before = resident_bytes()
        await asyncio.gather(*transfers)
        report.bound(f"memory, {label}", (peak_bytes() - before) / MIB, MEMORY_BOUND, "MiB")


def concurrent_transfers(setup: Setup, transport: HttpTransport) -> list[Any]:
    uploads = [setup.upload(transport) for _ in range(CONCURRENCY)]
    return uploads + [setup.download(transport, f"concurrent {number}") for number in range(CONCURRENCY)]


async def tick(delays: list[float]) -> None:
    """Record the delay of a 5 ms ticker in seconds, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        delays.append(loop.time() - due)


async def transfer_repeatedly(setup: Setup, transport: HttpTransport, seconds: float) -> None:
    """Keep four uploads and four downloads running for `seconds`."""
    until = time.perf_counter() + seconds

    async def repeat(run: Callable[[], Awaitable[None]]) -> None:
        while time.perf_counter() < until:
            await run()

    runs: list[Callable[[], Awaitable[None]]] = [lambda: setup.upload(transport)] * CONCURRENCY
    for number in range(CONCURRENCY):
        runs.append(lambda name=f"concurrent {number}": setup.download(transport, name))  # type: ignore[misc] # noqa: PERF401
    await asyncio.gather(*map(repeat, runs))


async def measure_interference(report: Report, setup: Setup, options: argparse.Namespace) -> None:
    """Measure the loop's ticker and the polls of 200 waiting jobs, idle and during transfers."""
    provider = aw.Dewatermark("key", base_url=setup.api)
    transport = TimedTransport(provider)
    polling = aw.Polling(first=POLL_INTERVAL, factor=1.0, ceiling=POLL_INTERVAL)
    async with aw.Client(provider, transport=transport, polling=polling, deadline=3600) as client:
        for number in range(WAITING_JOBS):
            snapshot = aw.Snapshot(f"job-{number}", aw.Status.QUEUED)
            client.resume(Record(f"key-{number}", "dewatermark", snapshot, video=True).token)
            await asyncio.sleep(POLL_INTERVAL / WAITING_JOBS)  # spread the polls evenly over the interval
        await asyncio.sleep(2 * POLL_INTERVAL)
        transport.poll_seconds.clear()
        await asyncio.sleep(options.seconds)
        idle = percentile(transport.poll_seconds, 0.99) * 1e3
        report.line("polls while idle", f"{len(transport.poll_seconds)}, p99 {idle:.1f} ms")
        transport.poll_seconds.clear()
        delays: list[float] = []
        ticker = asyncio.create_task(tick(delays))
        await transfer_repeatedly(setup, transport, options.seconds)
        ticker.cancel()
        busy = percentile(transport.poll_seconds, 0.99) * 1e3
        report.line("polls during transfers", f"{len(transport.poll_seconds)}, p99 {busy:.1f} ms")
        report.bound("p99 of a poll, during transfers / idle", busy / idle, POLL_BOUND, "x")
        report.bound("ticker delay, p99", percentile(delays, 0.99) * 1e3, TICK_P99_BOUND, "ms")
        report.bound("ticker delay, max", max(delays) * 1e3, TICK_MAX_BOUND, "ms")


async def measure(report: Report, setup: Setup, options: argparse.Namespace) -> None:
    async with HttpTransport(aw.Dewatermark("key", base_url=setup.api)) as transport:
        await measure_memory(report, setup, transport)
        await measure_speed(report, setup, transport, options)
    await measure_interference(report, setup, options)


def main() -> int:
    """Start the servers, run all measurements and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of the poll measurement, idle and busy")
    parser.add_argument("--results", type=Path, help="folder for downloaded files")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    report = Report(options.check, options.allow)
    shared_memory = Path("/dev/shm")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiowatermark-")))
        parent = options.results or (shared_memory if shared_memory.is_dir() else None)
        results = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiowatermark-", dir=parent)))
        storage = stack.enter_context(file_server.run_in_subprocess(size=options.mib * MIB))
        api = stack.enter_context(file_server.run_in_subprocess(storage=storage, latency=API_LATENCY))
        setup = Setup(storage, api, baseline_client.write_random_file(folder / "video.mp4", options.mib), results)
        report.line("workload", f"{options.mib} MiB, median of {options.rounds} rounds; results in {results}")
        asyncio.run(measure(report, setup, options))
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
