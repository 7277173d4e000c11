"""The shape of requests, seen through aioresponses; everything that concerns the wire is tested over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from aioresponses import aioresponses

import aiowatermark as aw

LINK = "https://images.example/a.png"


class MockedResponse(aiohttp.ClientResponse):
    """A response that aioresponses 0.7.9 can build: it does not pass `stream_writer`, which aiohttp 3.14 requires."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("stream_writer", Mock())
        super().__init__(*args, **settings)


def _reader(*_: object, **__: object) -> StreamReader:
    return StreamReader(Mock(ResponseHandler), limit=1 << 20)


@pytest.fixture
async def mocked_http() -> AsyncIterator[aioresponses]:
    from aioresponses import core

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "stream_reader_factory", _reader)
        with aioresponses() as mocked:
            mocked.add = partial(mocked.add, response_class=MockedResponse)  # type: ignore[method-assign]
            yield mocked


def request_settings(mocked_http: aioresponses, method: str, url: str) -> dict[str, Any]:
    """The arguments of the only request to a URL."""
    from yarl import URL

    (call,) = mocked_http.requests[(method, URL(url))]
    settings: dict[str, Any] = call.kwargs
    return settings


def sent_bytes(call: Mapping[str, Any]) -> bytes:
    """The body of a recorded call: plain bytes, or a payload that tells when it is written."""
    data = call["data"]
    return data if isinstance(data, bytes) else bytes(data.decode(), "utf-8")


async def test_a_picwish_submission_is_a_multipart_form_with_its_key_and_no_redirects(
    mocked_http: aioresponses,
) -> None:
    url = "https://techhk.aoscdn.com/api/tasks/visual/external/watermark-remove"
    mocked_http.add(
        url, "POST", payload={"status": 200, "data": {"task_id": "t", "state": 1, "file": "https://x.example/a"}}
    )
    async with aw.Client(aw.PicWish("canary-1")) as client:
        result = await client.remove(LINK, sync=True)
    call = request_settings(mocked_http, "POST", url)
    assert call["headers"]["X-API-KEY"] == "canary-1"
    assert call["headers"]["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="url"\r\n\r\n' + LINK.encode() in sent_bytes(call)
    assert b'name="sync"\r\n\r\n1' in sent_bytes(call)
    assert call["allow_redirects"] is False
    assert result.url == "https://x.example/a"


async def test_a_kaze_submission_is_json_with_a_bearer_token(mocked_http: aioresponses) -> None:
    base = "https://backend.kaze.ai/api/ext/v1"
    mocked_http.add(f"{base}/submit_watermark_removal", "POST", payload={"code": 0, "data": {"task_id": "t"}})
    done = {"message": "success", "data": {"status": "success", "images": [{"url": "https://x.example/a"}]}}
    mocked_http.add(f"{base}/get_task_result", "POST", payload=done)
    async with aw.Client(aw.Kaze("canary-1"), polling=aw.Polling(first=0.01)) as client:
        await client.remove(LINK)
    submit, query = (
        request_settings(mocked_http, "POST", f"{base}/submit_watermark_removal"),
        request_settings(mocked_http, "POST", f"{base}/get_task_result"),
    )
    assert json.loads(sent_bytes(submit)) == {"image_url": LINK}
    assert json.loads(sent_bytes(query)) == {"task_id": "t"}
    assert submit["headers"]["Authorization"] == "Bearer canary-1"
    assert submit["headers"]["Content-Type"] == "application/json"
