"""Memory of waiting jobs, and of one large picture on its way up; each in a process of its own.

    python benchmarks/memory.py [--jobs 10000] [--megabytes 50] [--check]

Memory is what the kernel counts (RSS), so that what aiohttp, the allocator and C code keep is in it; tracemalloc's
count of Python's own objects is printed beside it, from a run of its own because tracing costs memory itself.
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

sys.path.append(str(Path(__file__).parents[1]))  # a clone needs no installation

import aiowatermark as aw
from benchmarks import stub
from benchmarks.measure import KIB, MIB, Report, forget_peak, peak, resident

WAITING_BOUND = 6.0
UPLOAD_BOUND = 16.0
BASE = 100
BURST = 200
HOUR = 3600.0
KEY = "benchmark-key"
# a JPEG's first bytes, 1024 x 768: all that anybody looks at before it is sent
HEAD = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108030004000301220002110103110100")
_PICWISH_TAKES = 49


async def _more(client: aw.Client, handles: list[aw.JobHandle], jobs: int) -> None:
    """Submit until `jobs` wait, some at a time, as a service that has been up for long would have."""
    while len(handles) < jobs:
        numbers = range(len(handles), min(len(handles) + BURST, jobs))
        handles += await asyncio.gather(*(client.submit(f"https://example.com/{number}.jpg") for number in numbers))


def _held(*, traced: bool) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] if traced else resident()


async def waiting(origin: str, jobs: int, *, traced: bool) -> float:
    """KiB a waiting job costs above the first hundred."""
    provider = aw.PicWish(KEY, base_url=origin, requests_per_second=None)
    limits = aw.Limits(submissions=64, in_flight=jobs)
    handles: list[aw.JobHandle] = []
    polling = aw.Polling(first=HOUR)
    async with aw.Client(provider, limits=limits, polling=polling, deadline=2 * HOUR, drain=0.1) as client:
        await _more(client, handles, BASE)
        before = _held(traced=traced)
        await _more(client, handles, jobs)
        return (_held(traced=traced) - before) / (jobs - BASE) / KIB


def _picture(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.write(HEAD)
        file.truncate(size)  # zeros, without a disk full of them
    return path


async def upload(provider: aw.Provider, megabytes: int) -> float:
    """MiB by which one large picture raises the peak, after a small one has warmed everything up."""
    with tempfile.TemporaryDirectory(prefix="aiowatermark-") as folder:
        small = _picture(Path(folder, "small.jpg"), 10_000)
        large = _picture(Path(folder, "large.jpg"), megabytes * 1_000_000)
        async with aw.Client(provider, polling=aw.Polling(first=0.02)) as client:
            await client.remove(small)
            gc.collect()
            forget_peak()
            before = peak()
            await client.remove(large)
            return (peak() - before) / MIB


async def measured(what: str, origin: str, size: int) -> float:
    """One number; runs in a process of its own."""
    if what == "base64":
        return await upload(aw.Kaze(KEY, base_url=origin), size)
    if what == "multipart":
        return await upload(aw.PicWish(KEY, base_url=origin, requests_per_second=None), size)
    if what == "traced":
        tracemalloc.start()
    return await waiting(origin, size, traced=what == "traced")


def apart(what: str, size: int, *, looks: int) -> float:
    """The same in a new process, so that nothing of this one is counted; checks that all bytes arrived."""
    with stub.running(looks=looks) as server:
        command = [sys.executable, __file__, f"--only={what}", f"--origin={server.origin}", f"--size={size}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
        counts = server.counts()
    if looks >= 0 and counts["bytes"] < size * 1_000_000:
        sys.exit(f"the measurement is not valid: {counts['bytes']} bytes arrived")
    return float(done.stdout)


def main() -> int:
    """Waiting jobs, two large pictures, the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    for hidden in ("--only", "--origin"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(asyncio.run(measured(options.only, options.origin, options.size)))
        return 0
    report = Report(options.check, options.allow)
    jobs, picwish = options.jobs, min(options.megabytes, _PICWISH_TAKES)
    report.bound(f"{jobs} jobs waiting, each (RSS)", apart("waiting", jobs, looks=-1), WAITING_BOUND, "KiB")
    report.line(f"{jobs} jobs waiting, each (tracemalloc)", f"{apart('traced', jobs, looks=-1):8.2f} KiB")
    size = options.megabytes
    report.bound(f"{size} MB as base64 in JSON (Kaze), peak", apart("base64", size, looks=0), UPLOAD_BOUND, "MiB")
    report.bound(f"{picwish} MB in a form (PicWish), peak", apart("multipart", picwish, looks=0), UPLOAD_BOUND, "MiB")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
