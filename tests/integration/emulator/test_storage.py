"""The storage host: signatures byte for byte, ranges, expiry, uploads as documented, and no stray credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from aiowatermark.emulator import Emulator

if TYPE_CHECKING:
    from .conftest import Calls, Clock


async def test_links_lead_to_another_port_and_hold_what_careless_clients_rewrite(calls: Calls) -> None:
    link = await calls.result()
    assert link.startswith(calls.emulator.storage_url + "/picwish/results/")
    assert calls.emulator.storage_url != calls.emulator.base_url
    assert all(sign in link.partition("?")[2] for sign in ("%2F", "%3A", "+", "="))


async def test_a_re_encoded_link_is_refused(calls: Calls) -> None:
    link = await calls.result()
    for other in (str(URL(link)), link.replace("%3A", ":"), link.replace("+", "%20"), link + "&", link.lower()):
        reply = await calls.ask("GET", other)
        assert reply.status == 403
        assert "<Code>SignatureDoesNotMatch</Code>" in reply.text
        assert reply.headers["Content-Type"] == "application/xml"
    assert (await calls.ask("GET", link)).status == 200


@pytest.mark.parametrize(
    "path", ["/picwish/results/x", "/picwish/results/x?Signature=", "/picwish/results/x?a&Signature=b"]
)
async def test_a_link_without_a_signature_is_refused(calls: Calls, path: str) -> None:
    assert (await calls.ask("GET", calls.emulator.storage_url + path)).status == 403


async def test_a_link_for_one_use_is_no_link_for_another(calls: Calls) -> None:
    link = (await calls.ticket())["upload_signed_url"]
    assert (await calls.ask("GET", link)).status == 405
    assert (await calls.ask("PUT", await calls.result(), data=b"x")).status == 405
    assert (await calls.ask("GET", link.replace("/uploads/", "/results/"))).status == 403


@pytest.mark.parametrize("header", ["Authorization", "X-API-KEY", "Cookie"])
async def test_a_request_with_a_credential_is_refused_and_counted(calls: Calls, header: str) -> None:
    links = [await calls.result(), calls.emulator.host(b"lent")]
    for link in links:
        reply = await calls.ask("GET", link, headers={header: "a=secret"})
        assert reply.status == 400
        assert header in reply.text
    assert (await calls.put(await calls.ticket(), b"film", **{header: "a=secret"})).status == 400
    assert calls.emulator.leaks == 3


RANGES = [
    ("bytes=0-9", 206, 0, 10),
    ("bytes=10-", 206, 10, None),
    ("bytes=-10", 206, -10, None),
    ("bytes=0-99999999", 206, 0, None),
    ("bytes=0-0", 206, 0, 1),
    ("bytes=0-1,4-5", 200, 0, None),
    ("lines=0-1", 200, 0, None),
]


@pytest.mark.parametrize(("wanted", "status", "first", "stop"), RANGES)
async def test_a_range_is_answered_with_these_bytes(
    calls: Calls, wanted: str, status: int, first: int, stop: int | None
) -> None:
    data = calls.picture()
    reply = await calls.ask("GET", await calls.result(), headers={"Range": wanted})
    assert reply.status == status
    assert reply.body == data[first:stop]
    if status == 206:
        start = first % len(data)
        assert reply.headers["Content-Range"] == f"bytes {start}-{start + len(reply.body) - 1}/{len(data)}"


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_416(calls: Calls, wanted: str) -> None:
    reply = await calls.ask("GET", await calls.result(), headers={"Range": wanted})
    assert reply.status == 416
    assert reply.headers["Content-Range"] == f"bytes */{len(calls.picture())}"


async def test_if_range_gives_the_range_only_while_the_etag_is_the_same(calls: Calls) -> None:
    link = await calls.result()
    etag = (await calls.ask("GET", link)).headers["ETag"]
    same = await calls.ask("GET", link, headers={"Range": "bytes=5-", "If-Range": etag})
    other = await calls.ask("GET", link, headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (same.status, other.status) == (206, 200)
    assert other.body == calls.picture()


async def test_a_head_tells_the_length_without_the_body(calls: Calls) -> None:
    reply = await calls.ask("HEAD", await calls.result())
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["Content-Length"]) == len(calls.picture())


@pytest.mark.parametrize(("lifetime", "seconds"), [(None, 3600), (5, 5)])
async def test_a_result_link_expires(calls: Calls, clock: Clock, lifetime: float | None, seconds: float) -> None:
    async with Emulator(restore=False, processing=0, clock=clock, link_lifetime=lifetime) as emulator:
        link = await type(calls)(emulator, calls.session).result()
        clock.now += seconds - 0.01
        assert (await calls.ask("GET", link)).status == 200
        clock.now += 0.01
        assert (await calls.ask("GET", link)).status == 403


async def test_an_upload_link_expires_with_googles_status(calls: Calls, clock: Clock) -> None:
    async with Emulator(restore=False, clock=clock, upload_lifetime=60) as emulator:
        ticket = await type(calls)(emulator, calls.session).ticket()
        clock.now += 60
        reply = await calls.put(ticket, b"film")
        assert reply.status == 400
        assert "<Code>ExpiredToken</Code>" in reply.text


@pytest.mark.parametrize("kind", ["video/mp4", "application/octet-stream; charset=x", "multipart/form-data"])
async def test_an_upload_of_another_content_type_is_refused(calls: Calls, kind: str) -> None:
    reply = await calls.put(await calls.ticket(), b"film", **{"Content-Type": kind})
    assert reply.status == 403
    assert "SignatureDoesNotMatch" in reply.text


async def test_an_upload_without_a_length_is_411(calls: Calls) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"film"

    reply = await calls.put(await calls.ticket(), chunks())
    assert reply.status == 411


async def test_an_upload_to_a_re_encoded_link_is_refused(calls: Calls) -> None:
    ticket = await calls.ticket()
    ticket["upload_signed_url"] = ticket["upload_signed_url"].replace("%2F", "/")
    assert (await calls.put(ticket, b"film")).status == 403


@pytest.mark.parametrize("sent", [0, 1, 2000])
async def test_a_body_that_ends_too_early_is_no_upload(calls: Calls, sent: int) -> None:
    ticket = await calls.ticket()
    url = URL(ticket["upload_signed_url"], encoded=True)
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = f"PUT {url.raw_path_qs} HTTP/1.1\r\nHost: storage\r\nContent-Type: application/octet-stream\r\n"
    writer.write(f"{head}Content-Length: 4000\r\n\r\n".encode() + bytes(sent))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await calls.start(ticket["task_id"])).status == 400
    assert (await calls.put(ticket, b"film")).status == 200
    assert (await calls.start(ticket["task_id"])).status == 200


async def test_an_upload_of_many_megabytes_arrives_whole(calls: Calls) -> None:
    data = bytes(range(256)) * (9 << 12)
    task_id = await calls.film(BytesIO(data))
    await calls.emulator.tasks[0].done()
    link = (await calls.query("dewatermark", task_id)).json["download_signed_url"]
    assert (await calls.ask("GET", link)).body == data
    part = await calls.ask("GET", link, headers={"Range": "bytes=1048570-1048590"})
    assert part.body == data[1048570:1048591]
    assert (await calls.ask("HEAD", link)).headers["Content-Length"] == str(len(data))


async def test_an_empty_file_is_an_upload_too(calls: Calls) -> None:
    task_id = await calls.film(b"")
    await calls.emulator.tasks[0].done()
    assert (await calls.query("dewatermark", task_id)).json["status"] == "COMPLETED"


async def test_a_lent_file_needs_no_key_and_keeps_its_name(calls: Calls) -> None:
    link = calls.emulator.host(b"lent", "ma photo é.png")
    assert link.endswith("/ma_photo__.png")
    reply = await calls.ask("GET", link)
    assert (reply.body, reply.headers["Content-Type"]) == (b"lent", "image/png")
    assert (await calls.ask("GET", link + "x")).status == 404


async def test_an_unknown_path_is_404(calls: Calls) -> None:
    assert (await calls.ask("GET", calls.emulator.storage_url + "/nowhere")).status == 404
