"""Process that receives callbacks while it is attacked, and measures itself.

Usage: python hostile_server.py server|aiohttp|uvicorn|bare. Prints one line of JSON with its port and its keys, then
one with its measurements for each line it reads, and ends with the end of its input. "bare" is a hand-written aiohttp
route that answers and closes: what others are compared with.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

import uvicorn
from aiohttp import web

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.testing import ScriptedTransport, json_response
from benchmarks.measure import MIB, percentile, resident_bytes

TICK = 0.005
HONEST_KEYS = 100
JOBS = 5


class CountingStore(aw.MemoryStore):
    """Counts the questions about callback keys."""

    asked = 0

    async def by_callback(self, callback: str) -> aw.Record | None:
        CountingStore.asked += 1
        return await super().by_callback(callback)


class LogCounter(logging.Handler):
    """Counts log lines of the package and of asyncio, and tracebacks among them; not those of the servers around it."""

    lines = tracebacks = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += 1
        self.tracebacks += bool(record.exc_info)


@asynccontextmanager
async def serve_bare(_: aw.CallbackReceiver) -> AsyncIterator[int]:
    async def callback(request: web.Request) -> web.Response:
        await request.read()
        response = web.Response()
        response.force_close()
        return response

    app = web.Application(client_max_size=64 << 10)
    app.router.add_route("*", "/wm/{key}", callback)
    async with serve_app(app) as port:
        yield port


@asynccontextmanager
async def serve_app(app: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@asynccontextmanager
async def serve_aiohttp(receiver: aw.CallbackReceiver) -> AsyncIterator[int]:
    app = web.Application()
    receiver.setup(app, "/wm")
    async with serve_app(app) as port:
        yield port


@asynccontextmanager
async def serve_uvicorn(receiver: aw.CallbackReceiver) -> AsyncIterator[int]:
    config = uvicorn.Config(receiver.asgi(), access_log=False, log_config=None, http="h11", ws="none", backlog=128)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn sets no event
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = server.force_exit = True
        await task


@asynccontextmanager
async def serve_own(receiver: aw.CallbackReceiver) -> AsyncIterator[int]:
    async with aw.CallbackServer(receiver, port=0) as server:
        yield server.port


MOUNTS = {"server": serve_own, "aiohttp": serve_aiohttp, "uvicorn": serve_uvicorn, "bare": serve_bare}


async def measure_lag(lags: list[float]) -> None:
    """Note by how much a timer of the loop is late, again and again."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - before - TICK)


async def main(mount: str) -> None:
    log, lags = LogCounter(logging.INFO), [0.0]
    for name in ("aiowatermark", "asyncio"):
        logging.getLogger(name).addHandler(log)
        logging.getLogger(name).setLevel(logging.INFO)
    for name in ("aiohttp.server", "uvicorn"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    registry, live = registry_of(receiver), []
    create_url = registry.create_url

    def create_known_url(store_secret: bytes | None = None) -> tuple[str, str]:
        url, key_hash = create_url(store_secret)
        live.append(url.rpartition("/")[2])
        return url, key_hash

    registry.create_url = create_known_url  # type: ignore[method-assign]
    task = {"task_id": "t", "state": 0}
    transport = ScriptedTransport([json_response(status=200, data=task)], [json_response(status=200, data=task)])
    provider = aw.GptGe(api_key="k", base_url="http://127.0.0.1:9")
    async with (
        aw.Client(provider, callbacks=receiver, store=CountingStore(), transport=transport, deadline=86_400) as client,
        MOUNTS[mount](receiver) as port,
    ):
        for number in range(JOBS):
            await client.submit(f"https://images.example/{number}.png")
        jobs, honest, delivered = live[:], [], [0]
        for _ in range(HONEST_KEYS):
            url, key_hash = create_url()
            registry.expect(key_hash, lambda _: delivered.__setitem__(0, delivered[0] + 1))
            honest.append(url.rpartition("/")[2])
        lag_task = asyncio.create_task(measure_lag(lags))
        print(json.dumps({"port": port, "jobs": jobs, "honest": honest}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            report = {
                "lag_p99": percentile(lags, 0.99),
                "lag_max": max(lags),
                "rss_mib": resident_bytes() / MIB,
                "queries": sum(request.repeatable for request in transport.requests),
                "asked": CountingStore.asked,
                "honest": delivered[0],
                "unknown": receiver.counts["unknown"],
                "log_lines": log.lines,
                "tracebacks": log.tracebacks,
                "cpu": time.process_time(),
            }
            lags[:] = [0.0]
            print(json.dumps(report), flush=True)
        lag_task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
