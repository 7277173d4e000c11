"""Gigabytes up and down, ours against plain aiohttp and curl in the same run, and what they do to the loop beside them.

    python benchmarks/transfer.py [--mib 1024] [--rounds 5] [--check]

Uploads are read from the page cache; results are written where no disk decides the outcome (/dev/shm, if there is one).
Plain aiohttp is an async generator that reads inline and gives the loop its turn, or `iter_chunked` written inline:
what blocks the loop while a disk is slow, and the fastest aiohttp can do. It is measured with four sizes of blocks.
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
from typing import Any

import aiohttp
from attrs import define, field, frozen

sys.path.append(str(Path(__file__).parents[1]))  # a clone needs no installation

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.media.base import ProgressCallback
from aiowatermark.media.files import File
from aiowatermark.transport.http import HttpTransport
from aiowatermark.wire import Request, Response
from benchmarks import depot, plain
from benchmarks.measure import MIB, Report, forget_peak, peak, percentile, resident

FOREVER = aiohttp.ClientTimeout(total=None)
LANES, JOBS, TICK, LOOK_EVERY = 4, 200, 0.005, 1.0
ANSWER = 0.02
"""Seconds the provider takes for an answer: a network is in between."""

Run = Callable[[], Awaitable[object]]


@define
class Timed(HttpTransport):
    """Ours, with a stopwatch on the looks at jobs."""

    looks: list[float] = field(factory=list)

    async def perform(self, request: Request, *, timeout: float, progress: ProgressCallback | None = None) -> Response:  # noqa: ASYNC109
        begun = time.perf_counter()
        reply = await super().perform(request, timeout=timeout, progress=progress)
        if request.method == "GET":
            self.looks.append(time.perf_counter() - begun)
        return reply


@frozen
class Place:
    """Where everything is: the storage host, the API, a film to send, a folder for results."""

    storage: str
    api: str
    film: Path
    results: Path

    async def up(self, transport: HttpTransport) -> None:
        put = Request("PUT", f"{self.storage}/up/film?sig=1", File(self.film), signed=True, repeatable=True)
        reply = await transport.perform(put, timeout=60)
        assert reply.status == 200

    async def down(self, transport: HttpTransport, name: str = "ours") -> None:
        await transport.download(f"{self.storage}/down/film?sig=1", self.results / name, None)


# the measurements


@frozen
class Spent:
    """What one run took: seconds by the clock, and CPU seconds of this process and its children."""

    wall: float
    cpu: float


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


async def spent(run: Run) -> Spent:
    wall, cpu = time.perf_counter(), _cpu()
    await run()
    return Spent(time.perf_counter() - wall, _cpu() - cpu)


def _emptied(folder: Path) -> None:
    for old in folder.iterdir():
        old.unlink()


async def interleaved(rounds: int, runs: Mapping[str, Run], results: Path) -> dict[str, list[Spent]]:
    """A B C A B C …, after one round that warms up and does not count; each begins with an empty folder."""
    found: dict[str, list[Spent]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            _emptied(results)
            one = await spent(run)
            if turn:
                found[name].append(one)
    return found


def compare(report: Report, way: str, gib: float, found: Mapping[str, list[Spent]]) -> None:
    """Ours in parts of the plain one that is best, by throughput and by CPU."""
    # the least of the rounds: what others take from the machine can only add to it
    wall = {name: min(one.wall for one in runs) / gib for name, runs in found.items()}
    cpu = {name: min(one.cpu for one in runs) / gib for name, runs in found.items()}
    for name in found:
        report.line(f"{way}, {name}", f"{1 / wall[name]:6.2f} GiB/s {cpu[name]:8.3f} CPU s a GiB")
    theirs = [name for name in found if name.startswith("plain")]
    fastest, leanest = min(theirs, key=wall.__getitem__), min(theirs, key=cpu.__getitem__)
    report.bound(f"{way}, time / {fastest}", wall["ours"] / wall[fastest], 1 / 0.95, "x")
    report.bound(f"{way}, CPU / {leanest}", cpu["ours"] / cpu[leanest], 1.1, "x")


async def speed(report: Report, place: Place, transport: HttpTransport, options: argparse.Namespace) -> None:
    """Throughput and CPU of one transfer at a time."""
    async with aiohttp.ClientSession(timeout=FOREVER, read_bufsize=1 << 18) as session:
        ups: dict[str, Run] = {
            f"plain {name}": lambda block=block: plain.up(session, place.storage, place.film, block)  # type: ignore[misc]
            for name, block in plain.BLOCKS.items()
        }
        downs: dict[str, Run] = {
            f"plain {name}": lambda block=block: plain.down(session, place.storage, place.results / "plain", block)  # type: ignore[misc]
            for name, block in plain.BLOCKS.items()
        }
        if shutil.which("curl"):
            head = f"Content-Type: {plain.OCTETS}"
            ups["curl"] = lambda: plain.curl("-H", head, "-T", str(place.film), f"{place.storage}/up/film")
            downs["curl"] = lambda: plain.curl("-o", str(place.results / "curl"), f"{place.storage}/down/film")
        ups["ours"] = lambda: place.up(transport)
        downs["ours"] = lambda: place.down(transport)
        for way, runs in (("up", ups), ("down", downs)):
            compare(report, way, options.mib / 1024, await interleaved(options.rounds, runs, place.results))


async def memory(report: Report, place: Place, transport: HttpTransport) -> None:
    """The peak above what is held before, of one transfer each way and of eight at once."""
    for what, runs in (
        ("up", [place.up(transport)]),
        ("down", [place.down(transport)]),
        (f"{LANES} up and {LANES} down", lanes(place, transport)),
    ):
        forget_peak()
        before = resident()
        await asyncio.gather(*runs)
        report.bound(f"memory above idle, {what}", (peak() - before) / MIB, 24, "MiB")


def lanes(place: Place, transport: HttpTransport) -> list[Any]:
    ups = [place.up(transport) for _ in range(LANES)]
    return ups + [place.down(transport, f"lane {number}") for number in range(LANES)]


async def ticking(lags: list[float]) -> None:
    """A 5 ms ticker that notes how late it is woken."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        lags.append(loop.time() - due)


async def busy(place: Place, transport: HttpTransport, seconds: float) -> None:
    """Four uploads and four downloads, again and again, for so long."""
    until = time.perf_counter() + seconds

    async def again(run: Callable[[], Awaitable[None]]) -> None:
        while time.perf_counter() < until:
            await run()

    ways: list[Callable[[], Awaitable[None]]] = [lambda: place.up(transport)] * LANES
    ways += [lambda name=f"lane {number}": place.down(transport, name) for number in range(LANES)]  # type: ignore[misc]
    await asyncio.gather(*map(again, ways))


async def beside(report: Report, place: Place, options: argparse.Namespace) -> None:
    """The loop and the looks at 200 waiting jobs, idle and beside the transfers."""
    provider = aw.Dewatermark("key", base_url=place.api)
    transport = Timed(provider)
    polling = aw.Polling(first=LOOK_EVERY, factor=1.0, ceiling=LOOK_EVERY)
    async with aw.Client(provider, transport=transport, polling=polling, deadline=3600) as client:
        for number in range(JOBS):
            job = aw.Snapshot(f"job-{number}", aw.Status.QUEUED)
            client.resume(Record(f"key-{number}", "dewatermark", job, video=True).token)
            await asyncio.sleep(LOOK_EVERY / JOBS)
        await asyncio.sleep(2 * LOOK_EVERY)
        transport.looks.clear()
        await asyncio.sleep(options.seconds)
        idle = percentile(transport.looks, 0.99) * 1e3
        report.line("looks while idle", f"{len(transport.looks)}, p99 {idle:.1f} ms")
        transport.looks.clear()
        lags: list[float] = []
        ticker = asyncio.create_task(ticking(lags))
        await busy(place, transport, options.seconds)
        ticker.cancel()
        busy_p99 = percentile(transport.looks, 0.99) * 1e3
        report.line("looks beside transfers", f"{len(transport.looks)}, p99 {busy_p99:.1f} ms")
        report.bound("p99 of a look, beside / idle", busy_p99 / idle, 2, "x")
        report.bound("ticker, p99", percentile(lags, 0.99) * 1e3, 10, "ms")
        report.bound("ticker, max", max(lags) * 1e3, 50, "ms")


async def measured(report: Report, place: Place, options: argparse.Namespace) -> None:
    async with HttpTransport(aw.Dewatermark("key", base_url=place.api)) as transport:
        await memory(report, place, transport)
        await speed(report, place, transport, options)
    await beside(report, place, options)


def main() -> int:
    """All of it, then the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to look at jobs, idle and busy")
    parser.add_argument("--results", type=Path, help="a folder for what is downloaded")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    report = Report(options.check, options.allow)
    shared = Path("/dev/shm")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiowatermark-")))
        where = options.results or (shared if shared.is_dir() else None)
        results = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiowatermark-", dir=where)))
        storage = stack.enter_context(depot.running(size=options.mib * MIB))
        api = stack.enter_context(depot.running(storage=storage, answer=ANSWER))
        place = Place(storage, api, plain.film(folder / "film.mp4", options.mib), results)
        report.line("what", f"{options.mib} MiB, the best of {options.rounds} rounds; results in {results}")
        asyncio.run(measured(report, place, options))
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
