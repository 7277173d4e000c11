"""The emulator as these tests meet it: by bare HTTP, with no SDK in between."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from attrs import define, frozen
from yarl import URL

from aiowatermark.emulator import Emulator

PATHS = {
    "gptge": "/task/pic/watermark_auto",
    "picwish": "/api/tasks/visual/external/watermark-remove",
    "kaze": "/api/ext/v1/submit_watermark_removal",
    "photoeraser": "/v3/pic/rw/batch",
    "dewatermark": "/api/object_removal/v2/erase_watermark",
}
QUERIES = {
    "gptge": "/task/{}",
    "picwish": "/api/tasks/visual/external/watermark-remove/{}",
    "photoeraser": "/v3/pic/rw/result/{}",
    "dewatermark": "/api/video/v1/tasks/{}",
}


@frozen
class Reply:
    """What came back."""

    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def data(self) -> Any:
        return self.json["data"]


def picture(width: int = 300, height: int = 300, kind: str = "png", shade: int = 128) -> bytes:
    """A picture of one shade."""
    return bytes(cv2.imencode(f".{kind}", np.full((height, width, 3), shade, np.uint8))[1].tobytes())


def pixels(data: bytes, flags: int = cv2.IMREAD_COLOR) -> Any:
    """The pixels of an encoded picture."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def form(**fields: str | bytes) -> aiohttp.FormData:
    """A multipart form; bytes become files."""
    made = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, bytes):
            made.add_field(name, BytesIO(value), filename=f"{name}.bin", content_type="application/octet-stream")
        else:
            made.add_field(name, value)
    return made


@define(slots=False)
class Calls:
    """Requests to one emulator."""

    emulator: Emulator
    session: aiohttp.ClientSession

    picture = staticmethod(picture)
    form = staticmethod(form)
    pixels = staticmethod(pixels)
    paths = PATHS

    def key(self, provider: str) -> dict[str, str]:
        """The headers that hold the key."""
        key = self.emulator.keys[provider]
        if isinstance(key, tuple):
            return {"Authorization": "Basic " + base64.b64encode(":".join(key).encode()).decode()}
        bearer = provider in ("gptge", "kaze")
        return {"Authorization": f"Bearer {key}"} if bearer else {"X-API-KEY": key}

    async def ask(self, method: str, url: str, provider: str | None = None, **options: Any) -> Reply:
        """One request; a path goes to the API, a link byte for byte to where it leads."""
        target = url if url.startswith("http") else self.emulator.base_url + url
        headers = {**(self.key(provider) if provider else {}), **options.pop("headers", {})}
        async with self.session.request(method, URL(target, encoded=True), headers=headers, **options) as response:
            return Reply(response.status, await response.read(), response.headers)

    async def visual(self, provider: str = "picwish", **fields: str | bytes) -> Reply:
        """A submit to gpt.ge or PicWish."""
        return await self.ask("POST", PATHS[provider], provider, data=form(**(fields or {"file": picture()})))

    async def kaze(self, **body: Any) -> Reply:
        """A submit to Kaze."""
        body = body or {"image_base64": base64.b64encode(picture()).decode()}
        return await self.ask("POST", PATHS["kaze"], "kaze", json=body)

    async def eraser(self, **body: Any) -> Reply:
        """A submit to Photo Eraser; what is None is left out."""
        link = "https://example.com/a.png"
        body = {"images": [link], "mask": link, "priority": 1, **body}
        body = {name: value for name, value in body.items() if value is not None}
        return await self.ask("POST", PATHS["photoeraser"], "photoeraser", json=body)

    async def erase(self, version: str = "v2", **fields: str | bytes) -> Reply:
        """A call to Dewatermark."""
        fields = fields or {"original_preview_image": picture(kind="jpg")}
        path = PATHS["dewatermark"].replace("v2", version)
        return await self.ask("POST", path, "dewatermark", data=form(**fields))

    async def submit(self, provider: str) -> Reply:
        """The plainest job of a provider."""
        ways = {"kaze": self.kaze, "photoeraser": self.eraser, "dewatermark": self.erase}
        return await (ways[provider]() if provider in ways else self.visual(provider))

    async def query(self, provider: str, task_id: str) -> Reply:
        """How a job stands."""
        if provider == "kaze":
            return await self.ask("POST", "/api/ext/v1/get_task_result", provider, json={"task_id": task_id})
        return await self.ask("GET", QUERIES[provider].format(task_id), provider)

    async def finished(self, provider: str, reply: Reply) -> Reply:
        """The query's answer when the submitted job is done."""
        task_id = reply.data["task_id"]
        task = next(task for task in self.emulator.tasks if task.task_id == task_id)
        await task.done()
        return await self.query(provider, task_id)

    async def result(self) -> str:
        """The link to the result of a job at PicWish."""
        reply = await self.visual("picwish", file=picture(), sync="1")
        return str(reply.data["file"])

    async def ticket(self) -> Any:
        """A place for a video."""
        reply = await self.ask("POST", "/api/video/v1/upload", "dewatermark")
        return reply.json

    async def put(self, ticket: Any, data: Any, **headers: str) -> Reply:
        """An upload as the documents want it."""
        given = {"Content-Type": "application/octet-stream", **headers}
        return await self.ask("PUT", ticket["upload_signed_url"], data=data, headers=given)

    async def start(self, task_id: str, **fields: str | bytes) -> Reply:
        """Step 3 of a video."""
        return await self.ask("POST", "/api/video/v1/tasks", "dewatermark", data=form(task_id=task_id, **fields))

    async def film(self, data: bytes | BytesIO = b"film" * 1000) -> str:
        """The id of a video whose work has begun."""
        ticket = await self.ticket()
        await self.put(ticket, data)
        await self.start(ticket["task_id"])
        return str(ticket["task_id"])


@define
class Clock:
    """A clock that only moves when it is told to."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    """An emulator that hands pictures back at once."""
    async with Emulator(restore=False, processing=0) as emulator, aiohttp.ClientSession() as session:
        yield Calls(emulator, session)


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The servers report no error of their own."""
    yield
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
