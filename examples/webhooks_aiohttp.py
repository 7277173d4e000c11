"""Webhook-driven workflow in an aiohttp application: submit jobs, handle results in the background, without polling."""

import asyncio
from pathlib import Path

from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


def create_app(receiver: aw.CallbackReceiver) -> web.Application:
    """Return the application; the receiver's routes are mounted below /wm and its lifetime is the application's."""
    app = web.Application()
    receiver.setup(app, path="/wm")
    return app


async def main() -> None:
    receiver = aw.CallbackReceiver(public_url="http://127.0.0.1:1/wm")  # https://hooks.example.com/wm in production

    @receiver.on_result
    async def save(result: aw.Result) -> None:
        """Run in the background, after the provider's POST was answered."""
        if result.snapshot.status is aw.Status.SUCCEEDED:
            print("saved", await result.save(Path(f"{result.key}.jpg")))

    runner = web.AppRunner(create_app(receiver))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.public_url = f"http://127.0.0.1:{runner.addresses[0][1]}/wm"

    async with Emulator() as emulator, aw.Client(emulator.provider("gptge"), callbacks=receiver) as client:
        handles = [await client.submit(pictures.sample_photo(seed=n), key=f"order-{n}") for n in range(5)]
        await asyncio.gather(*handles)
        await runner.cleanup()  # waits for the handlers that are still running
        print("queries per job:", sum(task.queries for task in emulator.tasks) / len(handles))


if __name__ == "__main__":
    asyncio.run(main())
