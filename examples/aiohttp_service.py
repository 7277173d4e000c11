"""aiohttp service with one client for its lifetime: one route waits for the result, two routes submit and fetch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures

CLIENT = web.AppKey("client", aw.Client)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_UPLOAD = 20_000_000


def create_app(provider: aw.Provider) -> web.Application:
    app = web.Application(client_max_size=MAX_UPLOAD, middlewares=[answer_errors])  # a larger upload is a 413
    app.add_routes([web.post("/clean", clean), web.post("/jobs", submit), web.get("/jobs/{token}", fetch)])
    app.cleanup_ctx.append(lambda app: open_client(app, provider))
    return app


async def open_client(app: web.Application, provider: aw.Provider) -> AsyncIterator[None]:
    async with aw.Client(provider, deadline=60) as app[CLIENT]:
        yield


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """400: what the user can correct, such as a token that is none. 502: what the provider did."""
    try:
        return await handler(request)
    except aw.InvalidInput as error:
        raise web.HTTPBadRequest(text=error.message) from None
    except aw.WatermarkError as error:
        raise web.HTTPBadGateway(text=error.message) from None


async def clean(request: web.Request) -> web.Response:
    """Take an image; respond with the clean image."""
    return await to_response(await request.app[CLIENT].remove(await request.read()))


async def submit(request: web.Request) -> web.Response:
    """Take an image; respond with a token immediately. Requests with the same Idempotency-Key are charged once."""
    handle = await request.app[CLIENT].submit(await request.read(), key=request.headers.get("Idempotency-Key"))
    return web.json_response({"token": handle.token}, status=202)


async def fetch(request: web.Request) -> web.Response:
    """Respond with the clean image, or with 202 while the job is running."""
    handle = request.app[CLIENT].resume(request.match_info["token"])
    try:
        return await to_response(await handle.result(timeout=1.0))
    except TimeoutError:
        return web.json_response({"status": handle.snapshot.status}, status=202)


async def to_response(result: aw.Result) -> web.Response:
    body, info = await result.read(), result.outputs[0].info
    return web.Response(body=body, content_type=f"image/{info.format}" if info else "application/octet-stream")


async def main() -> None:
    async with Emulator() as emulator:
        runner = web.AppRunner(create_app(emulator.provider("kaze")))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
            async with session.post("/jobs", data=pictures.sample_photo()) as response:
                token = (await response.json())["token"]
            async with session.get(f"/jobs/{token}") as response:
                print("fetched:", response.status, response.content_type, len(await response.read()), "bytes")
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
