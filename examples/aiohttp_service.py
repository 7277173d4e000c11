"""aiohttp service with one client for its lifetime: one route waits for the result, two routes submit and fetch."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures

CLIENT = web.AppKey("client", aw.Client)


def create_app(provider: aw.Provider) -> web.Application:
    app = web.Application(client_max_size=50_000_000)
    app.add_routes([web.post("/clean", clean), web.post("/jobs", submit), web.get("/jobs/{token}", fetch)])
    app.cleanup_ctx.append(lambda app: open_client(app, provider))
    return app


async def open_client(app: web.Application, provider: aw.Provider) -> AsyncIterator[None]:
    async with aw.Client(provider, deadline=60) as app[CLIENT]:
        yield


async def clean(request: web.Request) -> web.Response:
    """Take an image; respond with the clean image."""
    try:
        result = await request.app[CLIENT].remove(await request.read())
    except aw.InvalidInput as error:
        raise web.HTTPBadRequest(text=error.message) from None
    return web.Response(body=await result.read(), content_type="image/jpeg")


async def submit(request: web.Request) -> web.Response:
    """Take an image; respond with a token immediately. Requests with the same Idempotency-Key are charged once."""
    handle = await request.app[CLIENT].submit(await request.read(), key=request.headers.get("Idempotency-Key"))
    return web.json_response({"token": handle.token}, status=202)


async def fetch(request: web.Request) -> web.Response:
    """Respond with the clean image, or with 202 while the job is running."""
    handle = request.app[CLIENT].resume(request.match_info["token"])
    try:
        result = await handle.result(timeout=1.0)
    except TimeoutError:
        return web.json_response({"status": handle.snapshot.status}, status=202)
    return web.Response(body=await result.read(), content_type="image/jpeg")


async def main() -> None:
    async with Emulator() as emulator:
        runner = web.AppRunner(create_app(emulator.provider("kaze")))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        photo = pictures.sample_photo()
        async with aiohttp.ClientSession(base_url) as session:
            async with session.post("/clean", data=photo) as response:
                print("waited:", response.status, len(await response.read()), "bytes")
            async with session.post("/jobs", data=photo, headers={"Idempotency-Key": "order-4711"}) as response:
                token = (await response.json())["token"]
            async with session.get(f"/jobs/{token}") as response:
                print("fetched:", response.status, len(await response.read()), "bytes")
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
