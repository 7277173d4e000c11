"""The same under FastAPI: the receiver is a plain ASGI application, mounted like any other."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from fastapi import FastAPI

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


def service(provider: aw.Provider, receiver: aw.CallbackReceiver) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with aw.Client(provider, callbacks=receiver) as client:
            app.state.client = client
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/wm", receiver.asgi())

    @app.post("/clean/{order}")
    async def clean(order: str) -> dict[str, int]:
        result = await app.state.client.remove(pictures.sample_photo(), key=order)
        return {"bytes": len(await result.read())}

    return app


async def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    receiver = aw.CallbackReceiver(public_url=f"{base}/wm")
    async with Emulator() as emulator:
        config = uvicorn.Config(service(emulator.provider("picwish"), receiver), log_level="warning")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with aiohttp.ClientSession() as session, session.post(f"{base}/clean/order-1") as answer:
            print(answer.status, await answer.json(), "after", emulator.tasks[0].queries, "query")
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
