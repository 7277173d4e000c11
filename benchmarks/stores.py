"""What remembering costs: records a second with every one on the disk, CPU a job above memory, and a recovery.

python benchmarks/stores.py [--jobs 10000] [--waiting 100000] [--rounds 5] [--dir DIR] [--check]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # a clone needs no installation

import aiowatermark as aw
from aiowatermark.jobs import INITIAL_SNAPSHOT, Output, Record, Snapshot, Status
from benchmarks import stub
from benchmarks.measure import MIB, Report, interleaved, peak, ratio

AT_ONCE = 200
KEY = "benchmark-key"
PAUSE = 0.02
RECORDS_A_SECOND = 20_000
ADDED = 1.10
SECONDS = 5.0
MEMORY = 400.0


def opened(number: int) -> Record:
    """A record as a client with callbacks opens it."""
    return Record(
        f"{number:032x}",
        "picwish",
        INITIAL_SNAPSHOT,
        "f" * 32,
        inputs=("a" * 32,),
        callback=f"{number:064x}",
        account="a" * 16,
        owner="o" * 32,
        created_at=time.time(),
    )


async def life(store: aw.JobStore, number: int) -> None:
    """Four records, as a job writes them: sent, accepted, running, done."""
    record = opened(number)
    assert await store.open(record) is None
    link = aw.as_media(f"https://results.example.com/{number}.jpg?Signature=0123456789abcdef")
    for snapshot in (
        Snapshot(f"task-{number}", Status.QUEUED),
        Snapshot(f"task-{number}", Status.RUNNING),
        Snapshot(f"task-{number}", Status.SUCCEEDED, 1.0, (Output(link),)),
    ):
        record = record.advance(snapshot)
        assert await store.put(record) is record


async def rate(store: aw.JobStore, jobs: int) -> float:
    """Records a second."""
    numbers = iter(range(jobs))

    async def work() -> None:
        for number in numbers:
            await life(store, number)

    async with store:
        before = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return jobs * 4 / (time.perf_counter() - before)


async def wait_for(path: Path, jobs: int) -> None:
    """A store with so many jobs at the provider."""
    async with aw.SQLiteStore(path) as store:
        numbers = iter(range(jobs))

        async def work() -> None:
            for number in numbers:
                record = opened(number)
                await store.put(record.advance(Snapshot(f"task-{number}", Status.QUEUED)))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def recover(path: Path) -> tuple[int, float]:
    """All that wait, kept at once as a client would; how many, and in how many seconds."""
    before = time.perf_counter()
    async with aw.SQLiteStore(path) as store:
        records = [record async for record in store.unfinished()]
    return len(records), time.perf_counter() - before


def recovered(path: Path) -> tuple[int, float, float]:
    """The same in a new process, as after a crash: how many, seconds, and its peak memory in MiB."""
    command = [sys.executable, __file__, "--recover", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    number, seconds, memory = json.loads(said)
    return number, seconds, memory


async def stream(provider: aw.Provider, store: aw.JobStore, jobs: int) -> None:
    """Whole jobs: a submit and its looks."""
    limits = aw.Limits(submissions=AT_ONCE, in_flight=AT_ONCE)
    polling = aw.Polling(first=PAUSE, factor=1.0)
    async with aw.Client(provider, limits=limits, polling=polling, store=store) as client:
        links = (f"https://example.com/{number}.jpg" for number in range(jobs))
        assert all([isinstance(outcome, aw.Done) async for outcome in client.stream(links)])


async def compare(report: Report, provider: aw.Provider, folder: Path, rounds: int) -> None:
    """CPU a job, with memory and with a file, in turns."""
    jobs, numbers = 2000, count()
    spent = await interleaved(
        rounds,
        {
            "memory": lambda: stream(provider, aw.MemoryStore(), jobs),
            "sqlite": lambda: stream(provider, aw.SQLiteStore(folder / f"stream-{next(numbers)}.db"), jobs),
        },
    )
    for name, seconds in spent.items():
        report.line(f"jobs with {name}", f"{statistics.median(seconds) / jobs * 1e3:8.3f} ms CPU a job")
    report.bound("CPU a job, SQLite / memory", ratio(spent["sqlite"], spent["memory"]), ADDED, "x")


def measure(report: Report, folder: Path, options: argparse.Namespace) -> None:
    """Everything, one after the other."""
    rates = [asyncio.run(rate(aw.SQLiteStore(folder / f"rate-{n}.db"), options.jobs)) for n in range(options.rounds)]
    report.line("memory", f"{asyncio.run(rate(aw.MemoryStore(), options.jobs)):8.0f} records/s")
    report.line("SQLite, FULL", f"{statistics.median(rates):8.0f} records/s at {AT_ONCE} jobs at once")
    report.bound("SQLite, FULL, seconds for 20,000 records", RECORDS_A_SECOND / statistics.median(rates), 1.0, "s")
    path = folder / "waiting.db"
    asyncio.run(wait_for(path, options.waiting))
    number, seconds, memory = recovered(path)
    report.require("every waiting job is to be found again", true=number == options.waiting)
    report.bound(f"{number} waiting jobs listed", seconds, SECONDS, "s")
    report.bound("peak memory of that process", memory, MEMORY, "MiB")
    with stub.running(looks=2) as server:
        provider = aw.PicWish(KEY, base_url=server.origin, requests_per_second=None)
        asyncio.run(compare(report, provider, folder, options.rounds))


def main() -> int:
    """The measurements, then the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="where the files are: on the disk that is to be measured")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    parser.add_argument("--recover", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.recover is not None:
        number, seconds = asyncio.run(recover(options.recover))
        print(json.dumps([number, seconds, peak() / MIB]))
        return 0
    report = Report(options.check, options.allow)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        measure(report, Path(folder), options)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
