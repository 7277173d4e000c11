"""Benchmark of SQLiteStore: time of a record in fsyncs of the disk, CPU per job beside MemoryStore, time of recovery.

python benchmarks/stores.py [--jobs 10000] [--waiting 100000] [--rounds 5] [--dir DIR] [--check]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import count
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

import aiowatermark as aw
from aiowatermark.jobs import INITIAL_SNAPSHOT, Output, Record, Snapshot, Status
from benchmarks import fake_api
from benchmarks.measure import MIB, Report, measure_interleaved, median_ratio, peak_bytes

CONCURRENCY = 200
KEY = "benchmark-key"
INTERVAL = 0.02
STREAM_JOBS = 2000
RECORDS_PER_JOB = 4
FSYNC_SECONDS = 1.0
DISK_FSYNCS = 20_000
WRITE_BOUND = 0.5
CPU_BOUND = 1.10
RECOVERY_BOUND = 6.0
MEMORY_BOUND = 400.0


def make_record(number: int) -> Record:
    """Return a record as a client with callbacks creates it."""
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


async def write_job(store: aw.JobStore, number: int) -> None:
    """Write the four records of one job: created, accepted, running, succeeded."""
    record = make_record(number)
    assert await store.open(record) is None
    url = aw.as_media(f"https://results.example.com/{number}.jpg?Signature=0123456789abcdef")
    for snapshot in (
        Snapshot(f"task-{number}", Status.QUEUED),
        Snapshot(f"task-{number}", Status.RUNNING),
        Snapshot(f"task-{number}", Status.SUCCEEDED, 1.0, (Output(url),)),
    ):
        record = record.advance(snapshot)
        assert await store.put(record) is record


async def measure_rate(store: aw.JobStore, jobs: int) -> float:
    """Return the records written per second by concurrent writers."""
    numbers = iter(range(jobs))

    async def write_jobs() -> None:
        for number in numbers:
            await write_job(store, number)

    async with store:
        before = time.perf_counter()
        await asyncio.gather(*(write_jobs() for _ in range(CONCURRENCY)))
        return jobs * RECORDS_PER_JOB / (time.perf_counter() - before)


def measure_fsyncs(folder: Path) -> float:
    """Return how often per second the disk makes one appended page durable: what a store without group commit is at."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        before, number = time.perf_counter(), 0
        while time.perf_counter() - before < FSYNC_SECONDS:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            number += 1
        return number / (time.perf_counter() - before)


def compare_with_disk(report: Report, folder: Path, options: argparse.Namespace) -> None:
    """Compare the time of a durable record with that of one fsync, in alternating rounds."""
    fsyncs, rates = [], []
    for number in range(options.rounds):
        fsyncs.append(measure_fsyncs(folder))
        rates.append(asyncio.run(measure_rate(aw.SQLiteStore(folder / f"rate-{number}.db"), options.jobs)))
    report.line("the disk alone", f"{statistics.median(fsyncs):8.0f} fsyncs/s")
    report.line(
        "SQLiteStore, synchronous=FULL", f"{statistics.median(rates):8.0f} records/s, {CONCURRENCY} jobs at once"
    )
    if statistics.median(fsyncs) > DISK_FSYNCS:
        report.line("time of a record / of an fsync", "not measured: this is memory, not a disk (--dir)")
    else:
        report.bound("time of a record / of an fsync", median_ratio(fsyncs, rates), WRITE_BOUND, "x")


def load_plainly(path: Path) -> float:
    """Return the seconds to read and parse all rows with nothing but the standard library."""
    before = time.perf_counter()
    with closing(sqlite3.connect(path)) as database:
        rows = [json.loads(data) for (data,) in database.execute("SELECT data FROM records")]
    assert rows
    return time.perf_counter() - before


async def write_waiting_jobs(path: Path, jobs: int) -> None:
    """Write a store with `jobs` jobs that are at the provider."""
    async with aw.SQLiteStore(path) as store:
        numbers = iter(range(jobs))

        async def write_records() -> None:
            for number in numbers:
                record = make_record(number)
                await store.put(record.advance(Snapshot(f"task-{number}", Status.QUEUED)))

        await asyncio.gather(*(write_records() for _ in range(CONCURRENCY)))


async def load_unfinished(path: Path) -> tuple[int, float]:
    """Load all unfinished records, held at the same time as a client would; returns their number and the seconds."""
    before = time.perf_counter()
    async with aw.SQLiteStore(path) as store:
        records = [record async for record in store.unfinished()]
    return len(records), time.perf_counter() - before


def load_in_subprocess(path: Path) -> tuple[int, float, float]:
    """Do the same in a new process, as after a crash; returns the number, the seconds and the peak memory in MiB."""
    command = [sys.executable, __file__, "--recover", str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    number, seconds, memory = json.loads(output)
    return number, seconds, memory


async def run_stream(provider: aw.Provider, store: aw.JobStore, jobs: int) -> None:
    """Process complete jobs: submission and polls."""
    limits = aw.Limits(submissions=CONCURRENCY, in_flight=CONCURRENCY)
    polling = aw.Polling(first=INTERVAL, factor=1.0)
    async with aw.Client(provider, limits=limits, polling=polling, store=store) as client:
        urls = (f"https://example.com/{number}.jpg" for number in range(jobs))
        assert all([isinstance(outcome, aw.Done) async for outcome in client.stream(urls)])


async def compare(report: Report, provider: aw.Provider, folder: Path, rounds: int) -> None:
    """Compare the CPU per job with MemoryStore and with SQLiteStore."""
    jobs, numbers = STREAM_JOBS, count()
    spent = await measure_interleaved(
        rounds,
        {
            "MemoryStore": lambda: run_stream(provider, aw.MemoryStore(), jobs),
            "SQLiteStore": lambda: run_stream(provider, aw.SQLiteStore(folder / f"stream-{next(numbers)}.db"), jobs),
        },
    )
    for name, seconds in spent.items():
        report.line(f"jobs with {name}", f"{statistics.median(seconds) / jobs * 1e3:8.3f} ms CPU per job")
    ratio = median_ratio(spent["SQLiteStore"], spent["MemoryStore"])
    report.bound("CPU per job, SQLiteStore / MemoryStore", ratio, CPU_BOUND, "x")


def measure(report: Report, folder: Path, options: argparse.Namespace) -> None:
    """Measure the write rate, recovery and the CPU per job."""
    report.line("MemoryStore", f"{asyncio.run(measure_rate(aw.MemoryStore(), options.jobs)):8.0f} records/s")
    compare_with_disk(report, folder, options)
    path = folder / "waiting.db"
    asyncio.run(write_waiting_jobs(path, options.waiting))
    number, seconds, memory = load_in_subprocess(path)
    report.require("every waiting job must be found again", true=number == options.waiting)
    report.line(f"{number} waiting jobs loaded", f"{seconds:8.2f} s")
    report.bound("that time / sqlite3 and json alone", seconds / load_plainly(path), RECOVERY_BOUND, "x")
    report.bound("peak memory of that process", memory, MEMORY_BOUND, "MiB")
    with fake_api.run_in_subprocess(polls=2) as api:
        provider = aw.PicWish(KEY, base_url=api.origin, requests_per_second=None)
        asyncio.run(compare(report, provider, folder, options.rounds))


def main() -> int:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="folder for the databases, on the disk to be measured")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    parser.add_argument("--recover", type=Path, help=argparse.SUPPRESS)  # argument of the child process
    options = parser.parse_args()
    if options.recover is not None:
        number, seconds = asyncio.run(load_unfinished(options.recover))
        print(json.dumps([number, seconds, peak_bytes() / MIB]))
        return 0
    report = Report(options.check, options.allow)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        measure(report, Path(folder), options)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
