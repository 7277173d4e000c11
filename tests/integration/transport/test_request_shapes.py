"""The shape of what is asked, seen through aioresponses; everything on the wire itself is tried over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from aioresponses import aioresponses

import aiowatermark as aw

LINK = "https://pictures.example/a.png"


class Answer(aiohttp.ClientResponse):
    """aioresponses 0.7.9 knows no `stream_writer`, which aiohttp 3.14 wants."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("stream_writer", Mock())
        super().__init__(*args, **settings)


def _reader(*_: object, **__: object) -> StreamReader:
    return StreamReader(Mock(ResponseHandler), limit=1 << 20)


@pytest.fixture
async def wire() -> AsyncIterator[aioresponses]:
    from aioresponses import core

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "stream_reader_factory", _reader)
        with aioresponses() as mocked:
            mocked.add = partial(mocked.add, response_class=Answer)  # type: ignore[method-assign]
            yield mocked


def asked(wire: aioresponses, method: str, url: str) -> dict[str, Any]:
    from yarl import URL

    (call,) = wire.requests[(method, URL(url))]
    settings: dict[str, Any] = call.kwargs
    return settings


async def test_a_picwish_submit_is_a_multipart_form_with_its_key_and_no_redirects(wire: aioresponses) -> None:
    url = "https://techhk.aoscdn.com/api/tasks/visual/external/watermark-remove"
    wire.add(url, "POST", payload={"status": 200, "data": {"task_id": "t", "state": 1, "file": "https://x.example/a"}})
    async with aw.Client(aw.PicWish("canary-1")) as client:
        result = await client.remove(LINK, sync=True)
    call = asked(wire, "POST", url)
    assert call["headers"]["X-API-KEY"] == "canary-1"
    assert call["headers"]["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="url"\r\n\r\n' + LINK.encode() in call["data"]
    assert b'name="sync"\r\n\r\n1' in call["data"]
    assert call["allow_redirects"] is False
    assert result.url == "https://x.example/a"


async def test_a_kaze_submit_is_json_with_a_bearer_token(wire: aioresponses) -> None:
    base = "https://backend.kaze.ai/api/ext/v1"
    wire.add(f"{base}/submit_watermark_removal", "POST", payload={"code": 0, "data": {"task_id": "t"}})
    done = {"message": "success", "data": {"status": "success", "images": [{"url": "https://x.example/a"}]}}
    wire.add(f"{base}/get_task_result", "POST", payload=done)
    async with aw.Client(aw.Kaze("canary-1"), polling=aw.Polling(first=0.01)) as client:
        await client.remove(LINK)
    submit, query = (
        asked(wire, "POST", f"{base}/submit_watermark_removal"),
        asked(wire, "POST", f"{base}/get_task_result"),
    )
    assert json.loads(submit["data"]) == {"image_url": LINK}
    assert json.loads(query["data"]) == {"task_id": "t"}
    assert submit["headers"]["Authorization"] == "Bearer canary-1"
    assert submit["headers"]["Content-Type"] == "application/json"
