"""Inside an aiohttp service: one client for the application's life, a request that waits, and one that does not."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures

CLIENT = web.AppKey("client", aw.Client)


def service(provider: aw.Provider) -> web.Application:
    app = web.Application(client_max_size=50_000_000)
    app.add_routes([web.post("/clean", clean), web.post("/jobs", submit), web.get("/jobs/{token}", look)])
    app.cleanup_ctx.append(lambda app: client(app, provider))
    return app


async def client(app: web.Application, provider: aw.Provider) -> AsyncIterator[None]:
    async with aw.Client(provider, deadline=60) as app[CLIENT]:
        yield


async def clean(request: web.Request) -> web.Response:
    """The picture in, the clean picture out."""
    try:
        result = await request.app[CLIENT].remove(await request.read())
    except aw.InvalidInput as error:
        raise web.HTTPBadRequest(text=error.message) from None
    return web.Response(body=await result.read(), content_type="image/jpeg")


async def submit(request: web.Request) -> web.Response:
    """The picture in, a token out, at once; an order number of the caller's makes a repeated request free."""
    handle = await request.app[CLIENT].submit(await request.read(), key=request.headers.get("Idempotency-Key"))
    return web.json_response({"token": handle.token}, status=202)


async def look(request: web.Request) -> web.Response:
    """The clean picture, or 202 while there is none."""
    handle = request.app[CLIENT].resume(request.match_info["token"])
    try:
        result = await handle.result(timeout=1.0)
    except TimeoutError:
        return web.json_response({"status": handle.snapshot.status}, status=202)
    return web.Response(body=await result.read(), content_type="image/jpeg")


async def main() -> None:
    async with Emulator() as emulator:
        runner = web.AppRunner(service(emulator.provider("kaze")))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        photo = pictures.sample_photo()
        async with aiohttp.ClientSession(base) as session:
            async with session.post("/clean", data=photo) as answer:
                print("waited for:", answer.status, len(await answer.read()), "bytes")
            async with session.post("/jobs", data=photo, headers={"Idempotency-Key": "order-4711"}) as answer:
                token = (await answer.json())["token"]
            async with session.get(f"/jobs/{token}") as answer:
                print("came back for:", answer.status, len(await answer.read()), "bytes")
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
