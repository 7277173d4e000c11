"""aiohttp service that streams its users' videos to the provider without a disk and with little memory.

DEWATERMARK_API_KEY=… python stream_through_service.py
curl -T clip.mp4 http://127.0.0.1:8080/videos
"""

import argparse
from collections.abc import AsyncIterator

from aiohttp import web

import aiowatermark as aw

CLIENT = web.AppKey("client", aw.Client)
CHUNK = 1 << 18
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
    body = request.content.iter_chunked(CHUNK)
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
    handle = request.app[CLIENT].resume(request.match_info["token"])
    try:
        result = await handle.result(timeout=1.0)
    except TimeoutError:
        return web.json_response({"status": handle.snapshot.status}, status=202)
    return web.json_response({"url": result.url, "details": dict(result.snapshot.details)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default=aw.Dewatermark.default_base_url)
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    web.run_app(create_app(aw.Dewatermark.from_env(base_url=options.base_url)), host="127.0.0.1", port=options.port)
