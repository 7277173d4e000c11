"""The event loop's health: how late a 5 ms ticker comes while large files go up and come down.

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

sys.path.append(str(Path(__file__).parents[1]))  # a clone needs no installation

import aiowatermark as aw
from benchmarks import stub
from benchmarks.measure import Report, percentile

TICK = 0.005
BOUND = 10.0
KEY = "benchmark-key"
HEAD = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108030004000301220002110103110100")


@asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """How late each tick came, in milliseconds."""
    delays: list[float] = []

    async def tick() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(TICK)
            delays.append((time.perf_counter() - begun - TICK) * 1e3)

    ticker = asyncio.create_task(tick())
    try:
        yield delays
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)


async def busy(provider: aw.Provider, pictures: list[Path], folder: Path) -> list[float]:
    """Every picture up, its result down, all at once."""
    limits = aw.Limits(submissions=len(pictures), transfers=len(pictures))
    saved: list[Path] = []

    async def one(picture: Path) -> None:
        result = await client.remove(picture)
        saved.append(await result.save(folder / f"clean-{picture.name}"))

    async with aw.Client(provider, limits=limits, polling=aw.Polling(first=0.05)) as client, ticking() as delays:
        await asyncio.gather(*map(one, pictures))
    assert sum(map(_size, saved)) == sum(map(_size, pictures))
    return delays


def _size(path: Path) -> int:
    return path.stat().st_size


async def idle() -> list[float]:
    """The machine's own share: the same ticker while nothing happens."""
    async with ticking() as delays:
        await asyncio.sleep(1)
    return delays


def _pictures(folder: Path, files: int, size: int) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(files)]
    for path in paths:
        path.write_bytes(HEAD.ljust(size, b"\0"))
    return paths


def _said(delays: list[float]) -> str:
    p50, p99, worst = (percentile(delays, share) for share in (0.5, 0.99, 1.0))
    return f"p50 {p50:6.2f}, p99 {p99:6.2f}, worst {worst:6.2f} ms late, {len(delays)} ticks"


def measure(report: Report, provider: aw.Provider, pictures: list[Path], rounds: int) -> None:
    """The p99 over the ticks of all rounds: one round has too few of them."""
    late = []
    for _ in range(rounds):
        begun = time.perf_counter()
        delays = asyncio.run(busy(provider, pictures, pictures[0].parent))
        report.line(f"{provider.display_name}, {time.perf_counter() - begun:.1f} s", _said(delays))
        late += delays
    report.bound(f"{provider.display_name}, p99 of a 5 ms ticker", percentile(late, 0.99), BOUND, "ms")


def main() -> int:
    """Idle, forms, base64, the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    report, size = Report(options.check, options.allow), options.megabytes * 1_000_000
    report.line("idle", _said(asyncio.run(idle())))
    with tempfile.TemporaryDirectory() as name, stub.running(looks=0, result_bytes=size) as server:
        pictures = _pictures(Path(name), options.files, size)
        measure(report, aw.PicWish(KEY, base_url=server.origin, requests_per_second=None), pictures, options.rounds)
        measure(report, aw.Kaze(KEY, base_url=server.origin), pictures, options.rounds)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
