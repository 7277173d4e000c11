"""Benchmark of memory: bytes per waiting job, and the peak while one large image is uploaded.

    python benchmarks/memory.py [--jobs 10000] [--megabytes 50] [--check]

Each measurement runs in a process of its own and reads the resident set size (RSS), which includes what aiohttp, the
allocator and C code hold. The size of Python's own objects by tracemalloc is printed beside it; it comes from a
separate run, because tracing itself uses memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

import aiowatermark as aw
from benchmarks import fake_api
from benchmarks.measure import KIB, MIB, Report, peak_bytes, reset_peak, resident_bytes

WAITING_BOUND = 6.0
UPLOAD_BOUND = 16.0
WARM_UP_JOBS = 100
BATCH = 200
HOUR = 3600.0
KEY = "benchmark-key"
# the first bytes of a JPEG of 1024x768 pixels: the client inspects nothing else before it uploads the file
JPEG_HEADER = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108030004000301220002110103110100")
_PICWISH_MAX_MEGABYTES = 49


async def _submit_until(client: aw.Client, handles: list[aw.JobHandle], jobs: int) -> None:
    """Submit batches until `jobs` wait, so that memory resembles that of a service that has run for long."""
    while len(handles) < jobs:
        numbers = range(len(handles), min(len(handles) + BATCH, jobs))
        handles += await asyncio.gather(*(client.submit(f"https://example.com/{number}.jpg") for number in numbers))


def _used_bytes(*, traced: bool) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] if traced else resident_bytes()


async def measure_waiting(origin: str, jobs: int, *, traced: bool) -> float:
    """Return the KiB of each waiting job after the first hundred."""
    provider = aw.PicWish(KEY, base_url=origin, requests_per_second=None)
    limits = aw.Limits(submissions=64, in_flight=jobs)
    handles: list[aw.JobHandle] = []
    polling = aw.Polling(first=HOUR)
    async with aw.Client(provider, limits=limits, polling=polling, deadline=2 * HOUR, drain=0.1) as client:
        await _submit_until(client, handles, WARM_UP_JOBS)
        before = _used_bytes(traced=traced)
        await _submit_until(client, handles, jobs)
        return (_used_bytes(traced=traced) - before) / (jobs - WARM_UP_JOBS) / KIB


def _write_image(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.write(JPEG_HEADER)
        file.truncate(size)  # a sparse file: reads as zeros and uses no disk space
    return path


async def measure_upload(provider: aw.Provider, megabytes: int) -> float:
    """Return by how many MiB the upload of one large image raises the peak, after a small one as warm-up."""
    with tempfile.TemporaryDirectory(prefix="aiowatermark-") as folder:
        small = _write_image(Path(folder, "small.jpg"), 10_000)
        large = _write_image(Path(folder, "large.jpg"), megabytes * 1_000_000)
        async with aw.Client(provider, polling=aw.Polling(first=0.02)) as client:
            await client.remove(small)
            gc.collect()
            reset_peak()
            before = peak_bytes()
            await client.remove(large)
            return (peak_bytes() - before) / MIB


async def measure(name: str, origin: str, size: int) -> float:
    """Return one measurement of this process."""
    if name == "base64":
        return await measure_upload(aw.Kaze(KEY, base_url=origin), size)
    if name == "multipart":
        return await measure_upload(aw.PicWish(KEY, base_url=origin, requests_per_second=None), size)
    if name == "traced":
        tracemalloc.start()
    return await measure_waiting(origin, size, traced=name == "traced")


def measure_in_subprocess(name: str, size: int, *, polls: int) -> float:
    """Return one measurement of a new process; exits if the API did not receive all bytes of an upload."""
    with fake_api.run_in_subprocess(polls=polls) as api:
        command = [sys.executable, __file__, f"--only={name}", f"--origin={api.origin}", f"--size={size}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
        counts = api.counts()
    if polls >= 0 and counts["bytes"] < size * 1_000_000:
        sys.exit(f"the measurement is not valid: the API received only {counts['bytes']} bytes")
    return float(done.stdout)


def main() -> int:
    """Measure waiting jobs and the two kinds of upload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    # arguments of the child processes
    for hidden in ("--only", "--origin"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(asyncio.run(measure(options.only, options.origin, options.size)))
        return 0
    report = Report(options.check, options.allow)
    jobs, kaze, picwish = options.jobs, options.megabytes, min(options.megabytes, _PICWISH_MAX_MEGABYTES)
    rss = measure_in_subprocess("waiting", jobs, polls=-1)
    report.bound(f"each of {jobs} waiting jobs (RSS)", rss, WAITING_BOUND, "KiB")
    traced = measure_in_subprocess("traced", jobs, polls=-1)
    report.line(f"each of {jobs} waiting jobs (tracemalloc)", f"{traced:8.2f} KiB")
    base64 = measure_in_subprocess("base64", kaze, polls=0)
    report.bound(f"{kaze} MB as base64 in JSON (Kaze), peak", base64, UPLOAD_BOUND, "MiB")
    multipart = measure_in_subprocess("multipart", picwish, polls=0)
    report.bound(f"{picwish} MB as multipart (PicWish), peak", multipart, UPLOAD_BOUND, "MiB")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
