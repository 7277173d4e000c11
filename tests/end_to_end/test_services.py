"""What the services in examples/ answer: bad tokens and files are 4xx, content types are right, uploads are bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from typing import Any, TypeAlias

import aiohttp
import httpx
import pytest
from attrs import frozen

import aiowatermark as aw
from aiowatermark import sync
from aiowatermark.emulator import Emulator, Fault, pictures
from tests.support.examples import import_example
from tests.support.http_server import serve_application
from tests.support.log_search import KEYS

PNG = pictures.sample_photo(format="png")
LARGE = bytes(20_000_001)
"""One byte more than the services take."""


@frozen
class Reply:
    """What a service answered."""

    status: int
    content_type: str
    body: bytes


Send: TypeAlias = Callable[..., Any]
"""Sends method, path, body and headers, or a form; awaited, it gives the Reply."""


@pytest.fixture
def threaded_emulator() -> Iterator[Emulator]:
    """An emulator that the synchronous service can use while it blocks this thread."""
    with sync.open_in_thread(Emulator(restore=False, processing=0.0, keys=KEYS)) as emulator:
        yield emulator


@asynccontextmanager
async def aiohttp_service(provider: aw.Provider) -> AsyncIterator[Send]:
    async with (
        serve_application(import_example("aiohttp_service").create_app(provider)) as url,
        aiohttp.ClientSession(url) as session,
    ):

        async def send(method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
            async with session.request(method, path, data=body and BytesIO(body), headers=headers) as response:
                return Reply(response.status, response.content_type, await response.read())

        yield send


@asynccontextmanager
async def flask_service(provider: aw.Provider) -> AsyncIterator[Send]:
    with sync.Client(provider) as client:
        web = import_example("flask_service").create_app(client).test_client()

        async def send(method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
            response = web.open(path, method=method, data=body, headers=headers)
            return Reply(response.status_code, response.mimetype, response.data)

        yield send


async def open_asgi(stack: AsyncExitStack, app: Any) -> httpx.AsyncClient:
    """Return an HTTP client of an ASGI application whose lifespan is running."""
    await stack.enter_async_context(app.router.lifespan_context(app))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://service"))


@pytest.mark.parametrize("service", [aiohttp_service, flask_service])
async def test_services_with_tokens_answer_what_a_user_can_correct_with_4xx(
    threaded_emulator: Emulator, service: Callable[[aw.Provider], Any]
) -> None:
    async with service(threaded_emulator.provider("kaze")) as send:
        assert (await send("GET", "/jobs/no-token")).status == 400
        assert (await send("POST", "/jobs", b"not an image")).status == 400
        assert (await send("POST", "/jobs", PNG, **{"Idempotency-Key": "x" * 300})).status == 400
        assert (await send("POST", "/jobs", LARGE)).status == 413
        assert threaded_emulator.charged["kaze"] == 0


@pytest.mark.parametrize("service", [aiohttp_service, flask_service])
async def test_services_with_tokens_deliver_each_format_under_its_type_and_charge_a_key_once(
    threaded_emulator: Emulator, service: Callable[[aw.Provider], Any]
) -> None:
    async with service(threaded_emulator.provider("kaze")) as send:
        accepted = [await send("POST", "/jobs", PNG, **{"Idempotency-Key": "order-1"}) for _ in range(2)]
        assert [reply.status for reply in accepted] == [202, 202]
        token = accepted[0].body.decode().split('"')[3]
        assert await send("GET", f"/jobs/{token}") == Reply(200, "image/png", PNG)
        assert threaded_emulator.charged["kaze"] == 1
        threaded_emulator.inject(Fault.status(500), provider="kaze", step="submit")
        assert (await send("POST", "/jobs", PNG)).status == 502


async def test_the_starlette_service_answers_so_too(emulator: Emulator) -> None:
    async with AsyncExitStack() as stack:
        web = await open_asgi(stack, import_example("starlette_service").create_app(emulator.provider("gptge")))
        assert (await web.post("/clean", content=b"not an image")).status_code == 400
        assert (await web.post("/clean", content=LARGE)).status_code == 413
        response = await web.post("/clean", content=PNG)
        assert (response.status_code, response.headers["content-type"], response.content) == (200, "image/png", PNG)
        emulator.inject(Fault.status(500), provider="gptge", step="submit")
        assert (await web.post("/clean", content=PNG)).status_code == 502
        assert emulator.charged["gptge"] == 1


async def test_the_fastapi_service_answers_so_too_and_takes_callbacks(emulator: Emulator) -> None:
    receiver = aw.CallbackReceiver(public_url="http://127.0.0.1:1/wm")
    app = import_example("fastapi_service").create_app(emulator.provider("kaze"), receiver)
    async with AsyncExitStack() as stack:
        web = await open_asgi(stack, app)
        assert (await web.get("/photos/no-token")).status_code == 400
        assert (await web.post("/photos/1", files={"photo": b"not an image"})).status_code == 400
        assert (await web.post("/photos/1")).status_code in {411, 422}
        assert (await web.post("/photos/1", files={"photo": LARGE})).status_code == 413
        accepted = [await web.post("/photos/1", files={"photo": PNG}) for _ in range(2)]
        assert [reply.status_code for reply in accepted] == [202, 202]
        response = await web.get(f"/photos/{accepted[0].json()['token']}")
        assert (response.status_code, response.headers["content-type"], response.content) == (200, "image/png", PNG)
        assert (await web.post("/wm/unknown", json={})).status_code == 404
        assert emulator.charged["kaze"] == 1
