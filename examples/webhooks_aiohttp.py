"""Webhook-driven work in an aiohttp service: submit in one place, react in another, no polling in between."""

import asyncio
from pathlib import Path

from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


def service(receiver: aw.CallbackReceiver) -> web.Application:
    """The application you have already; the receiver's routes and lifetime become part of it."""
    app = web.Application()
    receiver.setup(app, path="/wm")
    return app


async def main() -> None:
    receiver = aw.CallbackReceiver(public_url="http://127.0.0.1:1/wm")  # https://hooks.example.com/wm

    @receiver.on_result
    async def finished(result: aw.Result) -> None:
        """Runs in the background after the provider's call was acknowledged."""
        if result.snapshot.status is aw.Status.SUCCEEDED:
            print("saved", await result.save(Path(f"{result.key}.jpg")))

    runner = web.AppRunner(service(receiver))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.public_url = f"http://127.0.0.1:{runner.addresses[0][1]}/wm"

    async with Emulator() as emulator, aw.Client(emulator.provider("gptge"), callbacks=receiver) as client:
        handles = [await client.submit(pictures.sample_photo(seed=n), key=f"order-{n}") for n in range(5)]
        await asyncio.gather(*handles)
        await receiver.observers.drain(10)
        print("queries a job:", sum(task.queries for task in emulator.tasks) / len(handles))
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
