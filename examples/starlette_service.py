"""Starlette service: takes an image as the body of a request and responds with the clean image."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures

MAX_UPLOAD = 20_000_000


def create_app(provider: aw.Provider) -> Starlette:
    client = aw.Client(provider, deadline=60)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    async def clean(request: Request) -> Response:
        """Requests with the same Idempotency-Key are charged once."""
        result = await client.remove(await read_body(request), key=request.headers.get("Idempotency-Key"))
        body, info = await result.read(), result.outputs[0].info
        return Response(body, media_type=f"image/{info.format}" if info else "application/octet-stream")

    routes = [Route("/clean", clean, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={aw.WatermarkError: answer_error})


async def read_body(request: Request) -> bytes:
    """Read no more than MAX_UPLOAD, whatever Content-Length says."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_UPLOAD:
            raise HTTPException(413)
    return bytes(body)


async def answer_error(_: Request, error: Exception) -> Response:
    """400: what the user can correct, such as a file that is not an image. 502: what the provider did."""
    return PlainTextResponse(str(error), 400 if isinstance(error, aw.InvalidInput) else 502)


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with Emulator() as emulator:
        server = uvicorn.Server(uvicorn.Config(create_app(emulator.provider("gptge")), log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with aiohttp.ClientSession(base_url) as session:
            for body in (pictures.sample_photo(), b"not an image"):
                async with session.post("/clean", data=body) as response:
                    print(response.status, response.content_type)
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
