"""Answers of an API over real sockets: how much of them is read, and what a redirect means."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.transport.http import HttpTransport
from aiowatermark.wire import MAX_ANSWER_BYTES, LongText, Request, Response
from tests.support.http_server import serve_handler
from tests.support.images import make_jpeg

pytestmark = pytest.mark.usefixtures("no_retry_delays")

QUERY = Request("GET", "/x", repeatable=True)
IMAGE_CALL = Request("GET", "/x", repeatable=True, max_answer=8 << 20)


async def ask(body: bytes, request: Request = QUERY, **headers: str) -> Response:
    """Return what the transport makes of an answer with this body."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    async with serve_handler(answer) as url, HttpTransport(aw.Kaze("canary-key", base_url=url)) as transport:
        return await transport.perform(request, timeout=30.0)


@pytest.mark.parametrize("request_", [QUERY, IMAGE_CALL], ids=["query", "image"])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
async def test_an_answer_up_to_the_limit_is_read_as_it_is(request_: Request, encoding: str) -> None:
    body = b'{"a": "' + b"x" * 65_536 + b'"' + b" " * 196_000 + b"}"
    encode: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
    assert len(body) <= MAX_ANSWER_BYTES
    reply = await ask(encode[encoding](body), request_, Content_Encoding=encoding)
    assert reply.body == body
    assert reply.repeatable


@pytest.mark.parametrize("request_", [QUERY, IMAGE_CALL], ids=["query", "image"])
@pytest.mark.parametrize("fill", [b" ", b"[],", b'"",', b'"' + b"x" * 60_000 + b'",'])
async def test_an_answer_above_the_limit_is_refused(request_: Request, fill: bytes) -> None:
    with pytest.raises(aw.UnexpectedAnswer, match="larger than 256 KiB"):
        await ask(b'{"a": [' + fill * (400_000 // len(fill)), request_)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("request_", [QUERY, IMAGE_CALL], ids=["query", "image"])
async def test_a_compressed_bomb_is_not_read_further_than_the_limit(request_: Request, *, text: bool) -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    start_of_answer = compressor.compress(b'{"a": "' if text else b" ") + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(b"A" * (1 << 20) if text else bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    bomb = start_of_answer + 1000 * block  # after a full flush, a block can be repeated
    sent = 0

    async def send(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        for start in range(0, len(bomb), 1024):
            await response.write(bomb[start : start + 1024])
            sent += 1024
            await asyncio.sleep(0.001)
        return response

    async with serve_handler(send) as url, HttpTransport(aw.Kaze("canary-key", base_url=url)) as transport:
        with pytest.raises(aw.UnexpectedAnswer, match="not read further"):
            await transport.perform(request_, timeout=30.0)
    assert sent < len(bomb) // 4


async def test_an_image_in_an_answer_is_taken_out_while_it_arrives() -> None:
    data = random.Random(2).randbytes(3_000_000)  # noqa: S311 - bytes, not keys
    body = json.dumps({"edited_image": {"image": base64.b64encode(data).decode()}, "session_id": "s"}).encode()
    reply = await ask(body, IMAGE_CALL)
    image = reply.json()["edited_image"]["image"]
    assert isinstance(image, LongText)
    assert image.data == data
    assert reply.json()["session_id"] == "s"
    assert len(reply.body) < 200
    assert "…" in reply.excerpt


async def test_a_field_that_is_far_too_long_costs_the_field_and_not_the_answer() -> None:
    reply = await ask(json.dumps({"reason": "why " * 500_000, "status": "failed"}).encode())
    assert reply.json()["status"] == "failed"


@asynccontextmanager
async def redirecting(status: int, location: str | None, body: Any) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve an API that answers every request so; yields its URL and the paths of the requests."""
    requests: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        requests.append(request.path)
        headers = {} if location is None else {"Location": location}
        return web.json_response(body, status=status, headers=headers)

    async with serve_handler(answer) as url:
        yield url, requests


@pytest.mark.parametrize("status", [301, 307, 308])
@pytest.mark.parametrize("name", ["gptge", "picwish", "kaze", "dewatermark"])
async def test_a_paid_request_that_is_moved_is_rejected_and_its_key_is_free(name: str, status: int) -> None:
    body = {"code": 1003, "status": 402, "message": "moved"}
    location = "https://user:canary@other.example:8443/x?sig=canary"
    async with redirecting(status, location, body) as (url, requests), aw.Client(provider(name, url)) as client:
        for attempt in (1, 2):
            with pytest.raises(aw.Rejected, match=r"to https://other\.example:8443,.* verify .*base_url=") as caught:
                await client.submit(make_jpeg(), key="order-1")
            assert "canary" not in str(caught.value)
            assert len(requests) == attempt


@pytest.mark.parametrize("status", [300, 302, 303, 304, 305, 399])
@pytest.mark.parametrize("name", ["gptge", "picwish", "kaze", "dewatermark"])
async def test_a_paid_request_with_any_other_redirect_is_in_doubt(name: str, status: int) -> None:
    body = {"code": 1000, "status": 400}
    location = "https://other.example/x"
    async with redirecting(status, location, body) as (url, requests), aw.Client(provider(name, url)) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.submit(make_jpeg(), key="order-1")
    assert "https://other.example" in str(caught.value)
    assert len(requests) == 1


@pytest.mark.parametrize("location", [None, "/relative", "https://[bad", "", "https:///x"])
async def test_a_redirect_without_an_origin_advises_to_check_the_base_url(location: str | None) -> None:
    async with redirecting(308, location, {}) as (url, _), aw.Client(provider("kaze", url)) as client:
        with pytest.raises(aw.Rejected, match="check base_url"):
            await client.submit(make_jpeg())


async def test_a_query_that_is_redirected_does_not_end_the_wait() -> None:
    queries = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal queries
        if request.path.endswith("submit_watermark_removal"):
            return web.json_response({"code": 0, "data": {"task_id": "t"}})
        queries += 1
        if queries < 4:
            return web.Response(status=308, headers={"Location": "https://other.example/"})
        return web.json_response({"data": {"status": "failed", "err_msg": "no"}})

    async with serve_handler(answer) as url, aw.Client(provider("kaze", url)) as client:
        with pytest.raises(aw.JobFailed):
            await client.remove(make_jpeg())
    assert queries == 4


async def test_a_redirected_call_for_credits_names_the_new_origin() -> None:
    async with redirecting(301, "https://other.example/", {}) as (url, _), aw.Client(provider("kaze", url)) as client:
        with pytest.raises(aw.UnexpectedAnswer, match=r"https://other\.example,"):
            await client.credits()


def provider(name: str, url: str) -> Any:
    classes: dict[str, Any] = {
        "gptge": aw.GptGe,
        "picwish": aw.PicWish,
        "kaze": aw.Kaze,
        "dewatermark": aw.Dewatermark,
    }
    return classes[name]("canary-key", base_url=url, polling=aw.Polling(first=0.01, ceiling=0.01))
