"""A service that hands its users' films straight on to the provider: no disk, little memory, no faster than both ends.

DEWATERMARK_API_KEY=… python stream_through_service.py
curl -T clip.mp4 http://127.0.0.1:8080/films
"""

import argparse
from collections.abc import AsyncIterator

from aiohttp import web

import aiowatermark as aw

CLIENT = web.AppKey("client", aw.Client)
BLOCK = 1 << 18
ON_ITS_WAY = {aw.Status.UPLOADING, aw.Status.IN_DOUBT}


def service(provider: aw.Provider) -> web.Application:
    app = web.Application()
    app.add_routes([web.put("/films", take), web.get("/films/{token}", look)])
    app.cleanup_ctx.append(lambda app: client(app, provider))
    return app


async def client(app: web.Application, provider: aw.Provider) -> AsyncIterator[None]:
    async with aw.Client(provider, deadline=3600) as app[CLIENT]:
        yield


async def take(request: web.Request) -> web.Response:
    """The film in, the job's token out as soon as the provider has it.

    The body is read as the provider takes it: while it takes nothing, nothing is read from the user either.
    """
    if not request.content_length:
        raise web.HTTPLengthRequired(text="say how long the film is: storage hosts want to know first")
    body = request.content.iter_chunked(BLOCK)
    film = aw.as_media(body, size=request.content_length, name="film.mp4")
    try:
        handle = await request.app[CLIENT].submit(film)
        async for snapshot in handle.updates():
            if snapshot.status not in ON_ITS_WAY:
                break
    except aw.InvalidInput as error:
        raise web.HTTPBadRequest(text=error.message) from None
    except aw.WatermarkError as error:
        # a stream can be read once: whoever sent it decides whether to send it again
        raise web.HTTPBadGateway(text=error.message) from None
    return web.json_response({"token": handle.token}, status=202)


async def look(request: web.Request) -> web.Response:
    """Where the result lies, or 202 while there is none."""
    handle = request.app[CLIENT].resume(request.match_info["token"])
    try:
        result = await handle.result(timeout=1.0)
    except TimeoutError:
        return web.json_response({"status": handle.snapshot.status}, status=202)
    return web.json_response({"url": result.url, "details": dict(result.snapshot.details)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default=aw.Dewatermark.default_base_url)
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    web.run_app(service(aw.Dewatermark.from_env(base_url=options.base_url)), host="127.0.0.1", port=options.port)
