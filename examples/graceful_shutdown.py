"""A service that stops without losing a job, as Kubernetes stops one: readiness probe, SIGTERM, drain, exit."""

import asyncio
import os
import signal

import aiohttp
from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures

CLIENT = web.AppKey("client", aw.Client)
DRAIN_SECONDS = 20.0
"""Less than terminationGracePeriodSeconds, which is 30 unless set."""


async def ready(request: web.Request) -> web.Response:
    """The readiness probe: 503 from SIGTERM on, so that no further requests are sent here."""
    return web.Response(status=200 if request.app[CLIENT].ready else 503)


async def clean(request: web.Request) -> web.Response:
    """Take an image; respond with the clean image."""
    if not request.app[CLIENT].ready:
        raise web.HTTPServiceUnavailable(headers={"Retry-After": "1"})
    try:
        result = await request.app[CLIENT].remove(await request.read())
    except aw.InvalidInput as error:
        raise web.HTTPBadRequest(text=error.message) from None
    body, info = await result.read(), result.outputs[0].info
    return web.Response(body=body, content_type=f"image/{info.format}" if info else "application/octet-stream")


async def serve(provider: aw.Provider, store: aw.JobStore, started: asyncio.Future[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = web.Application(client_max_size=20_000_000)
    app.add_routes([web.get("/ready", ready), web.post("/clean", clean)])
    async with aw.Client(provider, store=store) as client:
        app[CLIENT] = client
        runner = web.AppRunner(app, shutdown_timeout=5.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            started.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await stop.wait()
            ended = await client.drain(DRAIN_SECONDS)  # jobs that have not ended then: another process recovers them
            print("drained:", "all jobs ended" if ended else "the rest is handed over")
        finally:
            await runner.cleanup()


async def main() -> None:
    async with Emulator(processing=1.0) as emulator, aiohttp.ClientSession() as session:
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        service = asyncio.create_task(serve(emulator.provider("kaze"), aw.SQLiteStore("jobs.db"), started))
        url = await started

        async def post() -> int:
            async with session.post(f"{url}/clean", data=pictures.sample_photo()) as response:
                return response.status

        running = asyncio.create_task(post())
        while not emulator.charged["kaze"]:  # noqa: ASYNC110 - until the job is at the provider
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)  # what Kubernetes sends
        await asyncio.sleep(0.1)
        async with session.get(f"{url}/ready") as response:
            print("ready after SIGTERM:", response.status)
        print("a later request:", await post(), "- a request from before:", await running)
        await service


if __name__ == "__main__":
    asyncio.run(main())
