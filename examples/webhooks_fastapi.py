"""Webhook-driven workflow in FastAPI: the receiver is an ASGI application that is mounted like any other."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from fastapi import FastAPI

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures


def create_app(provider: aw.Provider, receiver: aw.CallbackReceiver) -> FastAPI:
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
    listener = socket.create_server(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    receiver = aw.CallbackReceiver(public_url=f"{base_url}/wm")
    async with Emulator() as emulator:
        config = uvicorn.Config(create_app(emulator.provider("picwish"), receiver), log_level="warning")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with aiohttp.ClientSession() as session, session.post(f"{base_url}/clean/order-1") as response:
            print(response.status, await response.json(), "after", emulator.tasks[0].queries, "query")
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
