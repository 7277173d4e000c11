"""Benchmark of callbacks: CPU per delivery compared with a bare aiohttp route, and the delay until a job resolves.

Both servers close the connection after each answer, because a server that keeps connections loses requests that arrive
when it closes one.

    python benchmarks/callbacks.py [--deliveries 4000] [--jobs 1000] [--rounds 5] [--check]

In the first part the sender is another process. In the second part emulator, receiver and client share one process and
one core, so the delay that is printed is an upper bound.
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

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.emulator import Emulator
from aiowatermark.transport.http import HttpTransport
from aiowatermark.wire import Request, Response
from benchmarks.measure import Report, measure_interleaved, median_ratio

CPU_BOUND = 1.3
DELAY_BOUND = 15.0
QUERY_BOUND = 1.05
IMAGE = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x18\x00\x20\x03" + b"\x01\x11\x00" * 3


async def send_callbacks(port: int, keys: list[str]) -> None:
    """POST one callback per key from another process."""
    sender = str(Path(__file__).with_name("callback_sender.py"))
    process = await asyncio.create_subprocess_exec(sys.executable, sender, str(port), stdin=asyncio.subprocess.PIPE)
    await process.communicate("\n".join(keys).encode())
    if process.returncode:
        raise SystemExit("callback_sender.py failed")


async def receive_with_aiohttp(keys: list[str]) -> None:
    """Receive the callbacks with a hand-written route: read the body, resolve a future, close the connection."""
    loop = asyncio.get_running_loop()
    futures = {key: loop.create_future() for key in keys}

    async def callback(request: web.Request) -> web.Response:
        futures[request.match_info["key"]].set_result(await request.read())
        response = web.Response()
        response.force_close()
        return response

    app = web.Application()
    app.router.add_post("/wm/{key}", callback)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await send_callbacks(runner.addresses[0][1], keys)
    await asyncio.gather(*futures.values())
    await runner.cleanup()


async def receive_with_aiowatermark(count: int) -> None:
    """Receive the callbacks with `CallbackServer`: each key is known and resolves a future."""
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[aw.Delivery]] = []
    keys = []
    for _ in range(count):
        url, callback = registry_of(receiver).create_url()
        future = loop.create_future()
        registry_of(receiver).expect(callback, future.set_result)
        futures.append(future)
        keys.append(url.rsplit("/", 1)[1])
    async with aw.CallbackServer(receiver, port=0) as server:
        await send_callbacks(server.port, keys)
        await asyncio.gather(*futures)


class TimedTransport(HttpTransport):
    """An HttpTransport that records the duration of each query in seconds."""

    query_seconds: list[float]

    async def perform(self, request: Request, **settings: Any) -> Response:
        before = time.time()
        response = await super().perform(request, **settings)
        if request.repeatable:
            self.query_seconds.append(time.time() - before)
        return response


async def measure_delay(jobs: int) -> tuple[float, float, float]:
    """Return the median delay from "done" to resolved in ms, queries per job, and the median query in ms.

    The delay is what exceeds the round trip of the one query that a callback triggers.
    """
    rng = random.Random(1)
    seconds_to_spread = jobs / 200
    resolved_at: dict[str, float] = {}
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    async with (
        Emulator(restore=False, credits=10**6, processing=lambda _: 1 + rng.random() * seconds_to_spread) as emulator,
        aw.CallbackServer(receiver, port=0) as server,
    ):
        receiver.public_url = f"http://127.0.0.1:{server.port}/wm"
        provider = emulator.provider("gptge")
        transport = TimedTransport(provider)
        transport.query_seconds = []
        async with aw.Client(provider, callbacks=receiver, transport=transport) as client:

            async def run_job() -> None:
                handle = await client.submit(IMAGE)
                await handle
                resolved_at[handle.task_id or ""] = time.time()

            await asyncio.gather(*(run_job() for _ in range(jobs)))
        delays = [resolved_at[task.task_id] - task.completed_at for task in emulator.tasks]
        queries = sum(task.queries for task in emulator.tasks) / jobs
    query = statistics.median(transport.query_seconds) * 1000
    return statistics.median(delays) * 1000 - query, queries, query


async def main(deliveries: int, jobs: int, rounds: int, report: Report) -> None:
    keys = [f"{number:032d}" for number in range(deliveries)]
    spent = await measure_interleaved(
        rounds,
        {
            "aiowatermark": lambda: receive_with_aiowatermark(deliveries),
            "aiohttp": lambda: receive_with_aiohttp(keys),
        },
    )
    for name, seconds in spent.items():
        cpu = statistics.median(seconds) / deliveries
        report.line(f"{name}: CPU per delivery", f"{cpu * 1e6:8.0f} µs   ({1 / cpu:.0f} per second on one core)")
    ratio = median_ratio(spent["aiowatermark"], spent["aiohttp"])
    report.bound("CPU per delivery / bare aiohttp route that closes", ratio, CPU_BOUND, "x")
    delay, queries, query = await measure_delay(jobs)
    report.line("round trip of a query, median", f"{query:8.2f} ms")
    report.bound("done -> resolved above that, median", delay, DELAY_BOUND, "ms")
    report.bound("queries per job after the submission", queries, QUERY_BOUND, "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    options = parser.parse_args()
    final_report = Report(check=options.check)
    asyncio.run(main(options.deliveries, options.jobs, options.rounds, final_report))
    sys.exit(final_report.exit_code)
