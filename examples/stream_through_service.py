"""aiohttp service that streams its users' videos to the provider without a disk and with little memory."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from aiowatermark.emulator.clips import write_sample_clip

CLIENT = web.AppKey("client", aw.Client)
MAX_UPLOAD = 1_000_000_000
NOT_YET_ACCEPTED = {aw.Status.UPLOADING, aw.Status.IN_DOUBT}


def create_app(provider: aw.Provider) -> web.Application:
    app = web.Application()
    app.add_routes([web.put("/videos", upload), web.get("/videos/{token}", fetch)])
    app.cleanup_ctx.append(lambda app: open_client(app, provider))
    return app


async def open_client(app: web.Application, provider: aw.Provider) -> AsyncIterator[None]:
    async with aw.Client(provider, deadline=3600) as app[CLIENT]:
        yield


async def upload(request: web.Request) -> web.Response:
    """Take a video; respond with the job's token when the provider has the whole video.

    The request body is read only as fast as the provider accepts it.
    """
    if not request.content_length:
        raise web.HTTPLengthRequired(text="Content-Length is required: storage hosts need the size in advance")
    if request.content_length > MAX_UPLOAD:
        raise web.HTTPRequestEntityTooLarge(MAX_UPLOAD, request.content_length)
    body = request.content.iter_chunked(1 << 18)
    video = aw.as_media(body, size=request.content_length, name="video.mp4")
    try:
        handle = await request.app[CLIENT].submit(video)
        async for snapshot in handle.updates():
            if snapshot.status not in NOT_YET_ACCEPTED:
                break
    except aw.InvalidInput as error:
        raise web.HTTPBadRequest(text=error.message) from None
    except aw.WatermarkError as error:
        # a stream can be read only once: the user decides whether to upload again
        raise web.HTTPBadGateway(text=error.message) from None
    return web.json_response({"token": handle.token}, status=202)


async def fetch(request: web.Request) -> web.Response:
    """Respond with the result's URL, or with 202 while the job is running."""
    try:
        handle = request.app[CLIENT].resume(request.match_info["token"])
    except aw.InvalidInput as error:
        raise web.HTTPBadRequest(text=error.message) from None
    try:
        result = await handle.result(timeout=5.0)
    except TimeoutError:
        return web.json_response({"status": handle.snapshot.status}, status=202)
    return web.json_response({"url": result.url, "details": dict(result.snapshot.details)})


async def main() -> None:
    async with Emulator(restore=False) as emulator:
        runner = web.AppRunner(create_app(emulator.provider("dewatermark")))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
            clip = write_sample_clip("clip.mp4").read_bytes()
            token = (await (await session.put("/videos", data=clip)).json())["token"]
            print("fetched:", (await (await session.get(f"/videos/{token}")).json())["details"])
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
