"""Receiving callbacks: CPU a delivery against a bare aiohttp route, and how soon a job's end is known.

    python benchmarks/callbacks.py [--deliveries 4000] [--jobs 1000] [--rounds 5] [--check]

The senders of the first part are in another process. In the second part emulator, receiver and client share one
process and one core: what is printed is an upper bound.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.append(str(Path(__file__).parents[1]))  # a clone needs no installation

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from aiowatermark.transport.http import HttpTransport
from aiowatermark.wire import Request, Response
from benchmarks.measure import Report, interleaved, ratio

CPU_BOUND = 1.4
DELAY_BOUND = 15.0
QUERY_BOUND = 1.05


async def knocked(port: int, keys: list[str]) -> None:
    """Every key called once, from another process."""
    knocker = str(Path(__file__).with_name("knocker.py"))
    process = await asyncio.create_subprocess_exec(sys.executable, knocker, str(port), stdin=asyncio.subprocess.PIPE)
    await process.communicate("\n".join(keys).encode())
    if process.returncode:
        raise SystemExit("the knocker failed")


async def bare(keys: list[str]) -> None:
    """A route as one writes it oneself: read the body, set a future."""
    loop = asyncio.get_running_loop()
    futures = {key: loop.create_future() for key in keys}

    async def callback(request: web.Request) -> web.Response:
        futures[request.match_info["key"]].set_result(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/wm/{key}", callback)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await knocked(runner.addresses[0][1], keys)
    await asyncio.gather(*futures.values())
    await runner.cleanup()


async def ours(count: int) -> None:
    """The receiver behind its server: known keys, a bell each."""
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[aw.Delivery]] = []
    keys = []
    for _ in range(count):
        url, callback = receiver.create_url()
        future = loop.create_future()
        receiver.expect(callback, future.set_result)
        futures.append(future)
        keys.append(url.rsplit("/", 1)[1])
    async with aw.CallbackServer(receiver, port=0) as server:
        await knocked(server.port, keys)
        await asyncio.gather(*futures)


class TimedTransport(HttpTransport):
    """Knows how long each look took."""

    looks: list[float]

    async def perform(self, request: Request, **settings: Any) -> Response:
        before = time.time()
        reply = await super().perform(request, **settings)
        if request.repeatable:
            self.looks.append(time.time() - before)
        return reply


async def ends(jobs: int) -> tuple[float, float, float]:
    """Milliseconds from done to resolved above a look's own round trip (median), queries a job, and that round trip."""
    chance = random.Random(1)
    spread = jobs / 200
    resolved: dict[str, float] = {}
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    async with (
        Emulator(restore=False, credits=10**6, processing=lambda _: 1 + chance.random() * spread) as emulator,
        aw.CallbackServer(receiver, port=0) as server,
    ):
        receiver.public_url = f"http://127.0.0.1:{server.port}/wm"
        provider = emulator.provider("gptge")
        transport = TimedTransport(provider)
        transport.looks = []
        picture = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x18\x00\x20\x03" + b"\x01\x11\x00" * 3
        async with aw.Client(provider, callbacks=receiver, transport=transport) as client:

            async def one() -> None:
                handle = await client.submit(picture)
                await handle
                resolved[handle.task_id or ""] = time.time()

            await asyncio.gather(*(one() for _ in range(jobs)))
        delays = [resolved[task.task_id] - task.completed_at for task in emulator.tasks]
        queries = sum(task.queries for task in emulator.tasks) / jobs
    trip = statistics.median(transport.looks) * 1000
    return statistics.median(delays) * 1000 - trip, queries, trip


async def main(deliveries: int, jobs: int, rounds: int, report: Report) -> None:
    keys = [f"{number:032d}" for number in range(deliveries)]
    spent = await interleaved(rounds, {"ours": lambda: ours(deliveries), "bare": lambda: bare(keys)})
    for name, seconds in spent.items():
        cpu = statistics.median(seconds) / deliveries
        report.line(f"{name}: CPU a delivery", f"{cpu * 1e6:8.0f} µs   ({1 / cpu:.0f} a second on one core)")
    report.bound("ours against a bare aiohttp route", ratio(spent["ours"], spent["bare"]), CPU_BOUND, "x")
    delay, queries, trip = await ends(jobs)
    report.line("a query's own round trip, median", f"{trip:8.2f} ms")
    report.bound("from done to resolved, above that, median", delay, DELAY_BOUND, "ms")
    report.bound("queries a job after the submit", queries, QUERY_BOUND, "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    given = parser.parse_args()
    told = Report(check=given.check)
    asyncio.run(main(given.deliveries, given.jobs, given.rounds, told))
    sys.exit(told.exit_code)
