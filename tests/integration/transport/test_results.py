"""What save() and read() deliver: the right bytes, looked at, or nothing."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.transport import download as download_module
from aiowatermark.transport.http import HttpTransport
from tests.support.files import list_names
from tests.support.http_server import Handler, serve_handler
from tests.support.images import make_image, make_noise
from tests.support.result_host import result_client, serve, serve_in_turn
from tests.support.videos import make_mp4

pytestmark = pytest.mark.usefixtures("no_retry_delays")

IMAGE = make_noise(200, 100)
SOURCE = make_image(90, 80)
PAGES = {
    "empty": b"",
    "HTML": b"<!DOCTYPE html><html><body>Temporarily unavailable</body></html>",
    "JSON": b'{"status": 500, "message": "busy"}',
    "XML": b'<?xml version="1.0"?><Error><Code>InternalError</Code></Error>',
    "video": make_mp4(500),
}


async def save(handler: Handler, path: Path, **options: Any) -> aw.Result:
    """Save the result that `handler` serves, and return it."""
    async with result_client(handler) as client:
        result = await client.remove(SOURCE)
        await result.save(path, **options)
    return result


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
async def test_what_is_no_result_is_not_saved_and_the_error_has_the_token(tmp_path: Path, page: bytes) -> None:
    async with result_client(serve(page, Content_Type="image/jpeg")) as client:
        result = await client.remove(SOURCE)
        with pytest.raises(aw.TransferFailed) as caught:
            await result.save(tmp_path / "clean.jpg")
        assert caught.value.token == result.token
        assert caught.value.key == result.key
        with pytest.raises(aw.TransferFailed):
            await result.read()
        assert list_names(tmp_path) == []
        assert await result.read(verify=False) == page
        await result.save(tmp_path / "clean.jpg", verify=False)
    assert (tmp_path / "clean.jpg").read_bytes() == page


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
async def test_a_page_in_place_of_the_result_is_fetched_again(tmp_path: Path, page: bytes) -> None:
    result = await save(serve_in_turn(serve(page), serve(page), serve(IMAGE)), tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").read_bytes() == IMAGE
    info = result.outputs[0].info
    assert info is not None
    assert (info.format, info.width, info.height, info.size, info.unchanged) == ("jpeg", 200, 100, len(IMAGE), False)
    assert not result.outputs[0].suspect


async def test_an_existing_file_stays_if_there_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "clean.jpg").write_bytes(b"before")
    with pytest.raises(aw.TransferFailed, match="an HTML page was served"):
        await save(serve(PAGES["HTML"]), tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").read_bytes() == b"before"


async def test_a_truncated_file_is_fetched_again(tmp_path: Path) -> None:
    result = await save(serve_in_turn(serve(IMAGE[:-50]), serve(IMAGE)), tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").read_bytes() == IMAGE
    assert not result.outputs[0].suspect


async def test_a_truncated_file_that_comes_twice_is_delivered_as_suspect_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "aiowatermark")
    result = await save(serve(IMAGE[:-50]), tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").read_bytes() == IMAGE[:-50]
    assert result.outputs[0].suspect
    assert "the end of the result's file is missing" in caplog.text


async def raw_http_1_0(request: web.Request) -> web.StreamResponse:
    """Send most of the image without its length, and close the connection."""
    assert request.transport is not None
    transport: Any = request.transport
    transport.write(b"HTTP/1.0 200 OK\r\n\r\n" + IMAGE[:-50])
    transport.close()
    return web.Response()


async def test_without_a_length_the_format_decides_whether_a_file_is_complete(tmp_path: Path) -> None:
    with pytest.raises(aw.TransferFailed, match="end of the result is missing"):
        await save(raw_http_1_0, tmp_path / "clean.jpg")
    assert list_names(tmp_path) == []
    await save(serve_in_turn(raw_http_1_0, serve(IMAGE)), tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").read_bytes() == IMAGE


async def test_unknown_formats_pass(tmp_path: Path) -> None:
    await save(serve(b"a format of the future"), tmp_path / "clean.new")
    assert (tmp_path / "clean.new").read_bytes() == b"a format of the future"


@pytest.mark.parametrize("from_file", [True, False])
async def test_a_result_that_equals_the_input_is_unchanged_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, from_file: bool
) -> None:
    caplog.set_level(logging.WARNING, "aiowatermark")
    (tmp_path / "photo.png").write_bytes(SOURCE)
    async with result_client(serve_in_turn(serve(SOURCE), serve(IMAGE))) as client:
        result = await client.remove(tmp_path / "photo.png" if from_file else SOURCE)
        for unchanged in (True, False):
            await result.save(tmp_path / "clean.png")
            info = result.outputs[0].info
            assert info is not None
            assert info.unchanged is unchanged
            assert ("unchanged" in caplog.text) is unchanged
            caplog.clear()


async def test_the_info_of_an_output_is_none_until_it_was_fetched() -> None:
    async with result_client(serve(IMAGE)) as client:
        result = await client.remove(SOURCE)
        assert result.outputs[0].info is None
        await result.read()
        assert result.outputs[0].info is not None


# encodings


def deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "two members": ("gzip", lambda data: gzip.compress(data[:500]) + gzip.compress(data[500:])),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", deflate),
    "not encoded": ("gzip", bytes),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize(("encoding", "encode"), ENCODERS.values(), ids=ENCODERS)
async def test_an_encoding_that_was_not_asked_for_is_undone(
    tmp_path: Path, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    await save(serve(encode(IMAGE), Content_Encoding=encoding), tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").read_bytes() == IMAGE


# with ids: the bytes contain the time, and workers of pytest-xdist must collect the same tests
@pytest.mark.parametrize(
    "damaged", [gzip.compress(IMAGE)[:-30], gzip.compress(IMAGE)[:40] + b"x" * 500], ids=["cut", "garbled"]
)
async def test_an_encoded_result_that_is_damaged_is_fetched_again(tmp_path: Path, damaged: bytes) -> None:
    handler = serve_in_turn(serve(damaged, Content_Encoding="gzip"), serve(IMAGE))
    await save(handler, tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").read_bytes() == IMAGE


async def test_an_encoded_result_is_not_resumed_but_fetched_again(tmp_path: Path) -> None:
    encoded, ranges = gzip.compress(IMAGE), list[str | None]()

    async def cut_once(request: web.Request) -> web.StreamResponse:
        ranges.append(request.headers.get("Range"))
        response = web.StreamResponse(headers={"Content-Encoding": "gzip", "ETag": '"1"'})
        response.content_length = len(encoded)
        await response.prepare(request)
        await response.write(encoded[: 500 if len(ranges) == 1 else len(encoded)])
        if len(ranges) == 1 and request.transport is not None:
            request.transport.abort()
        return response

    await save(cut_once, tmp_path / "clean.jpg")
    assert (tmp_path / "clean.jpg").read_bytes() == IMAGE
    assert ranges == [None, None]


async def test_an_unknown_encoding_is_a_failed_transfer(tmp_path: Path) -> None:
    with pytest.raises(aw.TransferFailed, match="Content-Encoding"):
        await save(serve(b"x", Content_Encoding="zstd"), tmp_path / "clean.jpg")


async def test_a_bomb_is_decoded_to_the_limit_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "READ_LIMIT", 1 << 20)
    bomb = serve(gzip.compress(bytes(20 << 20)), Content_Encoding="gzip")
    with pytest.raises(aw.TransferFailed, match="more than the 1048576 bytes allowed: pass a larger max_bytes="):
        await save(bomb, tmp_path / "clean.jpg")
    with pytest.raises(aw.TransferFailed, match="more than the 2000000 bytes"):
        await save(bomb, tmp_path / "clean.jpg", max_bytes=2_000_000)
    assert list_names(tmp_path) == []


async def test_an_input_by_url_that_comes_encoded_is_sent_decoded(tmp_path: Path) -> None:
    bodies: list[bytes] = []

    async def serve_and_record(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(body=gzip.compress(IMAGE), headers={"Content-Encoding": "gzip"})
        form = await request.post()
        field: Any = form["original_preview_image"]
        bodies.append(field.file.read())
        return web.json_response({"edited_image": {"image": base64.b64encode(IMAGE).decode()}})

    async with serve_handler(serve_and_record) as url, aw.Client(aw.Dewatermark("canary-key", base_url=url)) as client:
        await client.remove(f"{url}/photo.jpg")
    assert bodies == [IMAGE]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
async def test_a_result_in_the_answer_is_looked_at_too(tmp_path: Path, page: bytes) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response({"edited_image": {"image": base64.b64encode(page or b" ").decode()}})

    async with serve_handler(answer) as url, aw.Client(aw.Dewatermark("canary-key", base_url=url)) as client:
        result = await client.remove(IMAGE)
        with pytest.raises(aw.TransferFailed, match="more than the 0 bytes"):
            await result.save(tmp_path / "clean.jpg", max_bytes=0)
        if page:
            with pytest.raises(aw.TransferFailed) as caught:
                await result.save(tmp_path / "clean.jpg")
            assert caught.value.token == result.token
        await result.save(tmp_path / "clean.jpg", verify=False)
        assert (tmp_path / "clean.jpg").read_bytes() == (page or b" ")


async def test_a_truncated_image_in_the_answer_is_delivered_as_suspect(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response({"edited_image": {"image": base64.b64encode(IMAGE[:-9]).decode()}})

    async with serve_handler(answer) as url, aw.Client(aw.Dewatermark("canary-key", base_url=url)) as client:
        result = await client.remove(IMAGE)
        assert await result.read() == IMAGE[:-9]
    assert result.outputs[0].suspect


# bounds of read()


async def test_read_has_a_limit_of_its_own_and_says_how_to_raise_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiowatermark.transport.http.READ_LIMIT", 1000)
    async with result_client(serve(IMAGE)) as client:
        result = await client.remove(SOURCE)
        with pytest.raises(aw.TransferFailed, match="more than the 1000 bytes allowed: pass a larger max_bytes="):
            await result.read()
        assert await result.read(max_bytes=1 << 20) == IMAGE


# waiting and slots


@pytest.mark.parametrize("retry_after", ["9" * 400, "86400", "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "soon"])
async def test_a_host_cannot_make_a_download_wait_longer_than_a_few_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retry_after: str
) -> None:
    pauses: list[float] = []

    async def record_pause(seconds: float) -> None:
        pauses.append(seconds)

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": retry_after})

    async with serve_handler(refuse) as url, HttpTransport(aw.Kaze("canary-key", base_url=url)) as transport:
        monkeypatch.setattr("aiowatermark.transport.download.pause", record_pause)
        with pytest.raises(aw.TransferFailed, match="HTTP 429"):
            await transport.download(url, tmp_path / "out", None)
    assert len(pauses) >= 5
    assert max(pauses) <= 132.0


async def test_a_download_that_waits_holds_no_slot(tmp_path: Path) -> None:
    refused = asyncio.Event()

    async def refuse(request: web.Request) -> web.StreamResponse:
        if request.path == "/results/other.jpg":
            return web.Response(body=IMAGE)
        refused.set()
        return web.Response(status=429, headers={"Retry-After": "60"})

    async with result_client(refuse, limits=aw.Limits(transfers=1)) as client:
        result = await client.remove(SOURCE)
        waiting = asyncio.create_task(result.save(tmp_path / "clean.jpg"))
        await refused.wait()
        url = (result.url or "").replace("clean", "other")
        transport: Any = client._state.transport
        assert await asyncio.wait_for(transport.read(url, None), 20.0) == IMAGE
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
