"""The storage host: signatures byte for byte, ranges, expiry, uploads as documented, and refused credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from yarl import URL

from aiowatermark.emulator import Emulator
from tests.support.images import make_image
from tests.support.manual_clock import ManualClock
from tests.support.raw_api import RawApi


async def test_links_name_another_port_and_contain_what_careless_clients_rewrite(api: RawApi) -> None:
    link = await api.create_result()
    assert link.startswith(api.emulator.storage_url + "/picwish/results/")
    assert api.emulator.storage_url != api.emulator.base_url
    assert all(text in link.partition("?")[2] for text in ("%2F", "%3A", "+", "="))


async def test_a_re_encoded_link_is_refused(api: RawApi) -> None:
    link = await api.create_result()
    for rewritten in (str(URL(link)), link.replace("%3A", ":"), link.replace("+", "%20"), link + "&", link.lower()):
        reply = await api.request("GET", rewritten)
        assert reply.status == 403
        assert "<Code>SignatureDoesNotMatch</Code>" in reply.text
        assert reply.headers["Content-Type"] == "application/xml"
    assert (await api.request("GET", link)).status == 200


@pytest.mark.parametrize(
    "path", ["/picwish/results/x", "/picwish/results/x?Signature=", "/picwish/results/x?a&Signature=b"]
)
async def test_a_link_without_a_signature_is_refused(api: RawApi, path: str) -> None:
    assert (await api.request("GET", api.emulator.storage_url + path)).status == 403


async def test_a_link_is_valid_for_one_operation_only(api: RawApi) -> None:
    link = (await api.create_ticket())["upload_signed_url"]
    assert (await api.request("GET", link)).status == 405
    assert (await api.request("PUT", await api.create_result(), data=b"x")).status == 405
    assert (await api.request("GET", link.replace("/uploads/", "/results/"))).status == 403


@pytest.mark.parametrize("header", ["Authorization", "X-API-KEY", "Cookie"])
async def test_a_request_with_a_credential_is_refused_and_counted(api: RawApi, header: str) -> None:
    links = [await api.create_result(), api.emulator.host(b"hosted")]
    for link in links:
        reply = await api.request("GET", link, headers={header: "a=secret"})
        assert reply.status == 400
        assert header in reply.text
    assert (await api.upload(await api.create_ticket(), b"video", **{header: "a=secret"})).status == 400
    assert api.emulator.leaks == 3


RANGES = [
    ("bytes=0-9", 206, 0, 10),
    ("bytes=10-", 206, 10, None),
    ("bytes=-10", 206, -10, None),
    ("bytes=0-99999999", 206, 0, None),
    ("bytes=0-0", 206, 0, 1),
    ("bytes=0-1,4-5", 200, 0, None),
    ("lines=0-1", 200, 0, None),
]


@pytest.mark.parametrize(("header", "status", "first", "stop"), RANGES)
async def test_a_range_is_answered_with_the_bytes_it_names(
    api: RawApi, header: str, status: int, first: int, stop: int | None
) -> None:
    data = make_image()
    reply = await api.request("GET", await api.create_result(), headers={"Range": header})
    assert reply.status == status
    assert reply.body == data[first:stop]
    if status == 206:
        start = first % len(data)
        assert reply.headers["Content-Range"] == f"bytes {start}-{start + len(reply.body) - 1}/{len(data)}"


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_beyond_the_end_is_416(api: RawApi, header: str) -> None:
    reply = await api.request("GET", await api.create_result(), headers={"Range": header})
    assert reply.status == 416
    assert reply.headers["Content-Range"] == f"bytes */{len(make_image())}"


async def test_if_range_selects_the_range_only_while_the_etag_is_the_same(api: RawApi) -> None:
    link = await api.create_result()
    etag = (await api.request("GET", link)).headers["ETag"]
    matching = await api.request("GET", link, headers={"Range": "bytes=5-", "If-Range": etag})
    changed = await api.request("GET", link, headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (matching.status, changed.status) == (206, 200)
    assert changed.body == make_image()


async def test_head_returns_the_length_without_the_body(api: RawApi) -> None:
    reply = await api.request("HEAD", await api.create_result())
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["Content-Length"]) == len(make_image())


@pytest.mark.parametrize(("lifetime", "seconds"), [(None, 3600), (5, 5)])
async def test_a_result_link_expires(api: RawApi, clock: ManualClock, lifetime: float | None, seconds: float) -> None:
    async with Emulator(restore=False, processing=0, clock=clock, link_lifetime=lifetime) as emulator:
        link = await RawApi(emulator, api.session).create_result()
        clock.now += seconds - 0.01
        assert (await api.request("GET", link)).status == 200
        clock.now += 0.01
        assert (await api.request("GET", link)).status == 403


async def test_an_expired_upload_link_is_answered_as_google_answers(api: RawApi, clock: ManualClock) -> None:
    async with Emulator(restore=False, clock=clock, upload_lifetime=60) as emulator:
        ticket = await RawApi(emulator, api.session).create_ticket()
        clock.now += 60
        reply = await api.upload(ticket, b"video")
        assert reply.status == 400
        assert "<Code>ExpiredToken</Code>" in reply.text


@pytest.mark.parametrize("content_type", ["video/mp4", "application/octet-stream; charset=x", "multipart/form-data"])
async def test_an_upload_of_another_content_type_is_refused(api: RawApi, content_type: str) -> None:
    reply = await api.upload(await api.create_ticket(), b"video", **{"Content-Type": content_type})
    assert reply.status == 403
    assert "SignatureDoesNotMatch" in reply.text


async def test_an_upload_without_a_length_is_411(api: RawApi) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"video"

    reply = await api.upload(await api.create_ticket(), chunks())
    assert reply.status == 411


async def test_an_upload_to_a_re_encoded_link_is_refused(api: RawApi) -> None:
    ticket = await api.create_ticket()
    ticket["upload_signed_url"] = ticket["upload_signed_url"].replace("%2F", "/")
    assert (await api.upload(ticket, b"video")).status == 403


@pytest.mark.parametrize("sent", [0, 1, 2000])
async def test_a_body_that_ends_too_early_does_not_complete_the_upload(api: RawApi, sent: int) -> None:
    ticket = await api.create_ticket()
    url = URL(ticket["upload_signed_url"], encoded=True)
    _, writer = await asyncio.open_connection(url.host, url.port)
    headers = f"PUT {url.raw_path_qs} HTTP/1.1\r\nHost: storage\r\nContent-Type: application/octet-stream\r\n"
    writer.write(f"{headers}Content-Length: 4000\r\n\r\n".encode() + bytes(sent))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await api.start(ticket["task_id"])).status == 400
    assert (await api.upload(ticket, b"video")).status == 200
    assert (await api.start(ticket["task_id"])).status == 200


async def test_an_upload_of_many_megabytes_arrives_whole(api: RawApi) -> None:
    data = bytes(range(256)) * (9 << 12)
    task_id = await api.submit_video(BytesIO(data))
    await api.emulator.tasks[0].done()
    link = (await api.query("dewatermark", task_id)).json["download_signed_url"]
    assert (await api.request("GET", link)).body == data
    middle = await api.request("GET", link, headers={"Range": "bytes=1048570-1048590"})
    assert middle.body == data[1048570:1048591]
    assert (await api.request("HEAD", link)).headers["Content-Length"] == str(len(data))


async def test_an_empty_file_is_a_complete_upload(api: RawApi) -> None:
    task_id = await api.submit_video(b"")
    await api.emulator.tasks[0].done()
    assert (await api.query("dewatermark", task_id)).json["status"] == "COMPLETED"


async def test_a_hosted_file_needs_no_key_and_keeps_its_name(api: RawApi) -> None:
    link = api.emulator.host(b"hosted", "ma photo é.png")
    assert link.endswith("/ma_photo__.png")
    reply = await api.request("GET", link)
    assert (reply.body, reply.headers["Content-Type"]) == (b"hosted", "image/png")
    assert (await api.request("GET", link + "x")).status == 404


async def test_an_unknown_path_is_404(api: RawApi) -> None:
    assert (await api.request("GET", api.emulator.storage_url + "/unknown")).status == 404
