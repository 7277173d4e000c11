"""Which URLs and addresses transfers may go to, on every hop, and that links travel byte for byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import aiowatermark as aw
from aiowatermark.transport.http import HttpTransport
from aiowatermark.transport.url_guard import (
    ForbiddenAddress,
    PermanentTransferError,
    create_permitted_socket,
    is_public,
    request_url,
)
from tests.support.http_server import Handler, serve_handler

pytestmark = pytest.mark.usefixtures("no_retry_delays")

LOCAL = aw.PicWish("canary", base_url="http://127.0.0.1:9")


async def download(url: str, path: Path, provider: aw.Provider = LOCAL) -> Path:
    """Download a URL as if it were a result."""
    async with HttpTransport(provider) as transport:
        await transport.download(url, path, None)
    return path


@asynccontextmanager
async def recording(handler: Handler) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve a handler; yields its URL and the raw paths that are requested."""
    paths: list[str] = []

    async def record(request: web.Request) -> web.StreamResponse:
        paths.append(request.raw_path)
        return await handler(request)

    async with serve_handler(record) as url:
        yield url, paths


async def serve_result(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"result")


# addresses


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "2002:5db8:d822::1", "2a00:1450:4001:80b::200e"],
)
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "127.0.0.1", "0.0.0.0"),  # noqa: S104
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "192.0.0.8", "192.88.99.1"),
        *("::", "::1", "fe80::1%eth0", "ff02::1", "fc00::1", "fd12:3456::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "::10.0.0.1", "::93.184.216.34"),
        *("::ffff:0:7f00:1", "::ffff:0:93.184.216.34"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "64:ff9b:1:ffff::5db8:d822"),
        *("2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::1", "2001:0:4136:e378::1", "2001:2::1", "2001:10::1"),
        *("fec0::1", "2001:db8::1", "3fff::1", "3fff:fff::1", "5f00::1", "100::1", "100:0:0:1::1", "4000::1"),
    ],
)
def test_every_other_form_of_address_is_not_public(address: str) -> None:
    assert not is_public(address)


def open_socket(address: str, *, local: bool) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    create_permitted_socket((family, socket.SOCK_STREAM, 6, "", (address, 443)), local=local).close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "93.184.216.34"])
def test_a_provider_on_loopback_opens_loopback_and_the_public_internet(address: str) -> None:
    open_socket(address, local=True)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "fd00::1", "0.0.0.0", "fe80::1"])  # noqa: S104
def test_a_provider_on_loopback_opens_neither_the_lan_nor_the_metadata_service(address: str) -> None:
    with pytest.raises(ForbiddenAddress):
        open_socket(address, local=True)


@pytest.mark.parametrize("url", ["https://10.0.0.1:9/a", "https://169.254.169.254/a", "https://[fd00::1]/a"])
async def test_a_provider_on_loopback_cannot_make_the_client_request_the_lan(tmp_path: Path, url: str) -> None:
    with pytest.raises(aw.TransferFailed, match="not public"):
        await download(url, tmp_path / "out")


async def test_a_public_provider_cannot_make_the_client_request_a_private_host(tmp_path: Path) -> None:
    for url in ("https://127.0.0.1:9/a", "https://localhost:9/a", "https://[::1]:9/a", "https://169.254.169.254/a"):
        with pytest.raises(aw.TransferFailed, match="not public"):
            await download(url, tmp_path / "out", aw.PicWish("canary"))


# URLs


@pytest.mark.parametrize("url", ["http://10.0.0.1/a", "http://result.example/a", "ftp://x.example/a", "data://x/a"])
def test_urls_that_are_not_https_are_not_requested(url: str) -> None:
    with pytest.raises(PermanentTransferError, match="not an https URL"):
        request_url(url, local=True)
    with pytest.raises(PermanentTransferError, match="not an https URL"):
        request_url("http://127.0.0.1/a", local=False)


UNUSABLE = [
    "https:///a",
    "https://a..b/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 130 + "example/",
    "https://x.example:99999/",
    "https://x.example:-1/",
    "https://x.example:abc/",
    "https://[::1/",
    "https://[gg::1]/",
    "https://x\ud800.example/",
    "https://x y.example/",
    "https://xn--.example\x00/",
    "https://",
    "//x.example/",
    "",
]


@pytest.mark.parametrize("url", UNUSABLE)
async def test_an_unusable_url_is_a_failed_transfer(tmp_path: Path, url: str) -> None:
    with pytest.raises(aw.TransferFailed):
        await download(url, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=60) | st.builds("https://{}".format, st.text(max_size=60)))
def test_any_text_is_a_url_or_a_failed_transfer(text: str) -> None:
    try:
        url = str(request_url(text, local=True))
    except PermanentTransferError:
        return
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url


@pytest.mark.parametrize(
    ("link", "requested"),
    [
        ("/a%2Fb%7Ec/%41?sig=a%2Fb%2B%3D+~,:@", "/a%2Fb%7Ec/%41?sig=a%2Fb%2B%3D+~,:@"),
        ("/a/./b/../c//d?x=?&y", "/a/./b/../c//d?x=?&y"),
        ("/100%/%zz", "/100%/%zz"),
        ("/clean 1.jpg", "/clean%201.jpg"),
        ("/图.jpg", "/%E5%9B%BE.jpg"),
        ("/1.jpg?name=图 1.jpg&sig=%2F", "/1.jpg?name=%E5%9B%BE%201.jpg&sig=%2F"),
        ('/a"<>\\^`{|}', "/a%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("/a\x00b", "/a%00b"),
    ],
)
async def test_illegal_characters_of_a_link_are_escaped_and_the_rest_travels_byte_for_byte(
    tmp_path: Path, link: str, requested: str
) -> None:
    async with recording(serve_result) as (url, paths):
        await download(url + link, tmp_path / "out")
    assert paths == [requested]


# redirects


def redirect_to(*locations: str, status: int = 302) -> Handler:
    """Answer the first requests with these locations, and later ones with the result."""
    remaining = list(locations)

    async def handler(_: web.Request) -> web.StreamResponse:
        if remaining:
            return web.Response(status=status, headers={"Location": remaining.pop(0)})
        return web.Response(body=b"result")

    return handler


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_download_follows_redirects_byte_for_byte(tmp_path: Path, status: int) -> None:
    async with recording(redirect_to("/b%2F%41?sig=+~ ,", "c?d=%7E", status=status)) as (url, paths):
        path = await download(url + "/a/x", tmp_path / "out")
    assert path.read_bytes() == b"result"
    assert paths == ["/a/x", "/b%2F%41?sig=+~%20,", "/c?d=%7E"]


@pytest.mark.parametrize(
    "location",
    [
        "http://public.example/b?Signature=canary",
        "http://10.0.0.1/b?Signature=canary",
        "https://10.0.0.1:9/b?Signature=canary",
        "https://169.254.169.254/latest/meta-data",
        "ftp://127.0.0.1/b",
        "file:///etc/passwd",
        *(url for url in UNUSABLE if url.startswith("https://") and url.isprintable()),
    ],
)
async def test_every_hop_is_checked_before_it_is_requested(tmp_path: Path, location: str) -> None:
    async with recording(redirect_to("/b", location)) as (url, paths):
        with pytest.raises(aw.TransferFailed) as caught:
            await download(url + "/a", tmp_path / "out")
    assert "canary" not in str(caught.value)
    assert paths == ["/a", "/b"]


async def test_a_public_providers_result_may_not_redirect_to_loopback(tmp_path: Path) -> None:
    with pytest.raises(aw.TransferFailed):
        await download("http://127.0.0.1:9/a", tmp_path / "out", aw.PicWish("canary"))


async def test_a_loop_of_redirects_ends(tmp_path: Path) -> None:
    async with recording(redirect_to(*["/again"] * 50)) as (url, paths):
        with pytest.raises(aw.TransferFailed, match="more than 5 times"):
            await download(url + "/a", tmp_path / "out")
    assert len(paths) == 6


@pytest.mark.parametrize("size", [10_000, 2_000_000])
@pytest.mark.parametrize("header", ["X-Large", "Location", "ETag", "Content-Range", "Content-Type"])
async def test_a_huge_header_is_a_failed_transfer(tmp_path: Path, header: str, size: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 X\r\nContent-Length: 0\r\n" + header.encode() + b": " + b"9" * size + b"\r\n\r\n")
        writer.close()

    server: Any = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        with pytest.raises(aw.TransferFailed):
            await download(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a", tmp_path / "out")
    finally:
        server.close()
    assert list(tmp_path.iterdir()) == []
