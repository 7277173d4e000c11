"""Requests to the emulator by plain HTTP, without the SDK: what a customer's own client would send."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from typing import Any

import aiohttp
from attrs import define, frozen
from yarl import URL

from aiowatermark.emulator import Emulator
from tests.support.images import make_image

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
    """The response to one request."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def data(self) -> Any:
        return self.json["data"]


def b64(data: bytes) -> str:
    """Return the data as base64."""
    return base64.b64encode(data).decode()


def make_form(**fields: str | bytes) -> aiohttp.FormData:
    """Return a multipart form; bytes become files."""
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        if isinstance(value, bytes):
            data.add_field(name, BytesIO(value), filename=f"{name}.bin", content_type="application/octet-stream")
        else:
            data.add_field(name, value)
    return data


@define
class RawApi:
    """Requests to one emulator, with the right credentials."""

    emulator: Emulator
    session: aiohttp.ClientSession

    def auth_headers(self, provider: str) -> dict[str, str]:
        key = self.emulator.keys[provider]
        if isinstance(key, tuple):
            return {"Authorization": "Basic " + b64(":".join(key).encode())}
        bearer = provider in ("gptge", "kaze")
        return {"Authorization": f"Bearer {key}"} if bearer else {"X-API-KEY": key}

    async def request(self, method: str, url: str, provider: str | None = None, **options: Any) -> Reply:
        """Send one request: a path to the API, a URL byte for byte to its own host."""
        target = url if url.startswith("http") else self.emulator.base_url + url
        headers = {**(self.auth_headers(provider) if provider else {}), **options.pop("headers", {})}
        async with self.session.request(method, URL(target, encoded=True), headers=headers, **options) as response:
            return Reply(response.status, await response.read(), response.headers)

    async def submit_visual(self, provider: str = "picwish", **fields: str | bytes) -> Reply:
        """Submit to gpt.ge or PicWish."""
        return await self.request(
            "POST", PATHS[provider], provider, data=make_form(**(fields or {"file": make_image()}))
        )

    async def submit_kaze(self, **body: Any) -> Reply:
        body = body or {"image_base64": b64(make_image())}
        return await self.request("POST", PATHS["kaze"], "kaze", json=body)

    async def submit_photoeraser(self, **body: Any) -> Reply:
        """Submit to Photo Eraser; fields that are None are omitted."""
        link = "https://example.com/a.png"
        body = {"images": [link], "mask": link, "priority": 1, **body}
        body = {name: value for name, value in body.items() if value is not None}
        return await self.request("POST", PATHS["photoeraser"], "photoeraser", json=body)

    async def submit_dewatermark(self, version: str = "v2", **fields: str | bytes) -> Reply:
        """Submit an image to Dewatermark, which answers with the result."""
        fields = fields or {"original_preview_image": make_image(kind="jpeg")}
        path = PATHS["dewatermark"].replace("v2", version)
        return await self.request("POST", path, "dewatermark", data=make_form(**fields))

    async def submit(self, provider: str) -> Reply:
        """Submit a job with the default arguments of the provider."""
        submits = {
            "kaze": self.submit_kaze,
            "photoeraser": self.submit_photoeraser,
            "dewatermark": self.submit_dewatermark,
        }
        return await (submits[provider]() if provider in submits else self.submit_visual(provider))

    async def query(self, provider: str, task_id: str) -> Reply:
        if provider == "kaze":
            return await self.request("POST", "/api/ext/v1/get_task_result", provider, json={"task_id": task_id})
        return await self.request("GET", QUERIES[provider].format(task_id), provider)

    async def query_when_done(self, provider: str, reply: Reply) -> Reply:
        """Wait until the job of this submit is done, then query it."""
        task_id = reply.data["task_id"]
        task = next(task for task in self.emulator.tasks if task.task_id == task_id)
        await task.done()
        return await self.query(provider, task_id)

    async def create_result(self) -> str:
        """Run a job at PicWish and return the URL of its result."""
        reply = await self.submit_visual("picwish", file=make_image(), sync="1")
        return str(reply.data["file"])

    async def create_ticket(self) -> dict[str, Any]:
        """Step 1 of a video: return the task id and the upload URL."""
        reply = await self.request("POST", "/api/video/v1/upload", "dewatermark")
        ticket: dict[str, Any] = reply.json
        return ticket

    async def upload(
        self, ticket: Mapping[str, Any], data: bytes | BytesIO | AsyncIterator[bytes], **headers: str
    ) -> Reply:
        """Step 2 of a video, as documented."""
        headers = {"Content-Type": "application/octet-stream", **headers}
        return await self.request("PUT", ticket["upload_signed_url"], data=data, headers=headers)

    async def start(self, task_id: str, **fields: str | bytes) -> Reply:
        """Step 3 of a video."""
        return await self.request(
            "POST", "/api/video/v1/tasks", "dewatermark", data=make_form(task_id=task_id, **fields)
        )

    async def submit_video(self, data: bytes | BytesIO = b"video" * 1000) -> str:
        """Steps 1 to 3 of a video: return its task id."""
        ticket = await self.create_ticket()
        await self.upload(ticket, data)
        await self.start(ticket["task_id"])
        return str(ticket["task_id"])
