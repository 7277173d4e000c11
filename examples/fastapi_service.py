"""FastAPI service: uploads of a form, results by token, and the provider's callbacks in a mounted application."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO

import aiohttp
import uvicorn
from fastapi import FastAPI, Request, Response, UploadFile
from fastapi.responses import JSONResponse

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures

MAX_UPLOAD = 20_000_000


def create_app(provider: aw.Provider, receiver: aw.CallbackReceiver) -> FastAPI:
    client = aw.Client(provider, callbacks=receiver)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/wm", receiver.asgi())

    @app.middleware("http")
    async def limit_uploads(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse large uploads before FastAPI reads them; the server reads no more than Content-Length says."""
        if request.method == "POST" and request.url.path.startswith("/photos/"):
            length = int(request.headers.get("content-length", -1))
            if not 0 <= length <= MAX_UPLOAD:
                return Response(status_code=411 if length < 0 else 413)
        return await call_next(request)

    @app.exception_handler(aw.WatermarkError)
    async def answer_error(_: Request, error: aw.WatermarkError) -> JSONResponse:
        """400: what the user can correct, such as a token that is none. 502: what the provider did."""
        return JSONResponse({"detail": error.message}, 400 if isinstance(error, aw.InvalidInput) else 502)

    @app.post("/photos/{order}", status_code=202)
    async def submit(order: str, photo: UploadFile) -> dict[str, str]:
        return {"token": (await client.submit(photo, key=f"order-{order}")).token}

    @app.get("/photos/{token}")
    async def fetch(token: str) -> Response:
        handle = client.resume(token)
        try:
            result = await handle.result(timeout=5.0)
        except TimeoutError:
            return JSONResponse({"status": handle.snapshot.status}, 202)
        body, info = await result.read(), result.outputs[0].info
        return Response(body, media_type=f"image/{info.format}" if info else "application/octet-stream")

    return app


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    receiver = aw.CallbackReceiver(public_url=f"{base_url}/wm")  # https://hooks.example.com/wm in production
    async with Emulator() as emulator:
        app = create_app(emulator.provider("picwish"), receiver)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with aiohttp.ClientSession(base_url) as session:
            async with session.post("/photos/4711", data={"photo": BytesIO(pictures.sample_photo())}) as response:
                token = (await response.json())["token"]
            async with session.get(f"/photos/{token}") as response:
                print(response.status, response.content_type, "after", emulator.tasks[0].queries, "query")
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
