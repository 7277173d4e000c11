"""Benchmark of event-loop latency: how late a 5 ms ticker runs while large files are uploaded and downloaded.

python benchmarks/loop.py [--files 16] [--megabytes 20] [--rounds 8] [--check]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

import aiowatermark as aw
from benchmarks import fake_api
from benchmarks.measure import Report, percentile

INTERVAL = 0.005
BOUND = 10.0
KEY = "benchmark-key"
# the first bytes of a JPEG of 1024x768 pixels: the client inspects nothing else before it uploads the file
JPEG_HEADER = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108030004000301220002110103110100")


@asynccontextmanager
async def ticker() -> AsyncIterator[list[float]]:
    """Run a ticker; yields the list to which it appends the delay of each tick in ms."""
    delays: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(INTERVAL)
            delays.append((time.perf_counter() - before - INTERVAL) * 1e3)

    task = asyncio.create_task(tick())
    try:
        yield delays
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure_busy(provider: aw.Provider, images: list[Path], folder: Path) -> list[float]:
    """Return the tick delays while all images are uploaded and their results downloaded concurrently."""
    limits = aw.Limits(submissions=len(images), transfers=len(images))
    saved: list[Path] = []

    async def process(image: Path) -> None:
        result = await client.remove(image)
        saved.append(await result.save(folder / f"clean-{image.name}"))

    async with aw.Client(provider, limits=limits, polling=aw.Polling(first=0.05)) as client, ticker() as delays:
        await asyncio.gather(*map(process, images))
    assert sum(map(_size, saved)) == sum(map(_size, images))
    return delays


async def measure_idle() -> list[float]:
    """Return the tick delays of an idle loop: what the machine itself contributes."""
    async with ticker() as delays:
        await asyncio.sleep(1)
    return delays


def _size(path: Path) -> int:
    return path.stat().st_size


def _write_images(folder: Path, files: int, size: int) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(files)]
    for path in paths:
        path.write_bytes(JPEG_HEADER.ljust(size, b"\0"))
    return paths


def _summary(delays: list[float]) -> str:
    p50, p99, worst = (percentile(delays, share) for share in (0.5, 0.99, 1.0))
    return f"p50 {p50:6.2f}, p99 {p99:6.2f}, worst {worst:6.2f} ms late, {len(delays)} ticks"


def measure(report: Report, provider: aw.Provider, images: list[Path], rounds: int) -> None:
    """Report the 99th percentile over the ticks of all rounds: one round has too few ticks for it."""
    all_delays = []
    for _ in range(rounds):
        before = time.perf_counter()
        delays = asyncio.run(measure_busy(provider, images, images[0].parent))
        report.line(f"{provider.display_name}, {time.perf_counter() - before:.1f} s", _summary(delays))
        all_delays += delays
    report.bound(f"{provider.display_name}, p99 of a 5 ms ticker", percentile(all_delays, 0.99), BOUND, "ms")


def main() -> int:
    """Measure an idle loop, multipart uploads (PicWish) and base64 uploads (Kaze)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    report, size = Report(options.check, options.allow), options.megabytes * 1_000_000
    report.line("idle", _summary(asyncio.run(measure_idle())))
    with tempfile.TemporaryDirectory() as folder, fake_api.run_in_subprocess(polls=0, result_bytes=size) as api:
        images = _write_images(Path(folder), options.files, size)
        measure(report, aw.PicWish(KEY, base_url=api.origin, requests_per_second=None), images, options.rounds)
        measure(report, aw.Kaze(KEY, base_url=api.origin), images, options.rounds)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
