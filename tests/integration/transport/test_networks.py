"""Networks as they are: proxies, certificates of one's own, connections that are not shared or that end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark import clock
from aiowatermark.emulator import Emulator, pictures
from aiowatermark.testing import no_waiting
from aiowatermark.transport.http import HttpTransport
from aiowatermark.transport.network.proxies import Network
from tests.support.certificates import client_context, server_context
from tests.support.forward_proxy import ForwardProxy
from tests.support.http_server import serve_handler
from tests.support.videos import make_mp4
from tests.support.waiting import wait_until

LOCAL = "http://127.0.0.1:"


@pytest.fixture
async def proxy() -> AsyncIterator[ForwardProxy]:
    """A forward proxy on loopback."""
    async with ForwardProxy() as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxies_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def clean_and_read(client: aw.Client) -> bytes:
    return await (await client.remove(pictures.sample_photo())).read()


def origins(proxy: ForwardProxy) -> set[str]:
    return {target[: target.index("/", 8)] for _, target in proxy.requests}


async def test_everything_goes_through_a_proxy_that_is_given(emulator: Emulator, proxy: ForwardProxy) -> None:
    async with aw.Client(emulator.provider("kaze"), proxy=proxy.url) as client:
        link = emulator.host(pictures.sample_photo(), "a.jpg")
        assert await (await client.remove(link)).read()
    assert origins(proxy) == {emulator.base_url, emulator.storage_url}


async def test_the_environment_is_trusted_if_asked_for(
    emulator: Emulator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    async with aw.Client(emulator.provider("gptge")) as client:
        assert await clean_and_read(client)
    assert not proxy.requests
    async with aw.Client(emulator.provider("gptge"), trust_env=True) as client:
        assert await clean_and_read(client)
    assert origins(proxy) == {emulator.base_url, emulator.storage_url}
    proxy.requests.clear()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with aw.Client(emulator.provider("gptge"), trust_env=True) as client:
        assert await clean_and_read(client)
    assert not proxy.requests


async def test_results_take_the_way_of_a_users_session_that_trusts_the_environment(
    emulator: Emulator, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    async with (
        aiohttp.ClientSession(trust_env=True) as session,
        aw.Client(emulator.provider("gptge"), session=session) as client,
    ):
        assert await clean_and_read(client)
    assert origins(proxy) == {emulator.base_url, emulator.storage_url}


async def test_a_users_session_is_used_with_the_proxy_of_the_client(emulator: Emulator, proxy: ForwardProxy) -> None:
    async with (
        aiohttp.ClientSession() as session,
        aw.Client(emulator.provider("gptge"), session=session, proxy=proxy.url) as client,
    ):
        assert await clean_and_read(client)
    assert origins(proxy) == {emulator.base_url, emulator.storage_url}


async def test_videos_are_uploaded_through_the_proxy(emulator: Emulator, proxy: ForwardProxy) -> None:
    async with aw.Client(emulator.provider("dewatermark"), proxy=proxy.url) as client:
        result = await client.remove(make_mp4(76))
        assert await result.read()
    assert {method for method, target in proxy.requests if target.startswith(emulator.storage_url)} >= {"PUT", "GET"}


async def test_the_password_of_a_proxy_is_sent_to_it_and_shown_nowhere(emulator: Emulator, proxy: ForwardProxy) -> None:
    url = proxy.url.replace("http://", "http://user:canary-password@")
    async with aw.Client(emulator.provider("kaze"), proxy=url) as client:
        assert await clean_and_read(client)
        assert "canary" not in repr(client)
    assert proxy.credentials == {"user:canary-password"}
    assert "canary" not in repr(Network(proxy=url))


async def test_a_proxy_that_is_down_leaves_nothing_in_doubt(emulator: Emulator, no_retry_delays: None) -> None:
    store = aw.MemoryStore()
    async with aw.Client(emulator.provider("kaze"), proxy=f"{LOCAL}1", store=store, deadline=20) as client:
        with pytest.raises(aw.ProviderUnavailable) as caught:
            await client.submit(pictures.sample_photo(), key="order-1")
        assert caught.value.sent is False
        assert await store.get("order-1") is None
    assert emulator.charged["kaze"] == 0


async def test_a_tunnel_that_is_refused_leaves_nothing_in_doubt(proxy: ForwardProxy, no_retry_delays: None) -> None:
    proxy.status = 503
    store = aw.MemoryStore()
    async with aw.Client(aw.Kaze("canary-1"), proxy=proxy.url, store=store, deadline=20) as client:
        with pytest.raises(aw.ProviderUnavailable) as caught:
            await client.submit("https://images.example/a.png", key="order-1")
        assert caught.value.sent is False
        assert await store.get("order-1") is None
    assert {method for method, _ in proxy.requests} == {"CONNECT"}


async def test_addresses_that_are_not_public_are_not_requested_through_a_proxy(proxy: ForwardProxy) -> None:
    async with HttpTransport(aw.Kaze("canary-1"), network=Network(proxy=proxy.url)) as transport:
        for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]"):
            with pytest.raises(aw.TransferFailed, match="public"):
                await transport.read(f"https://{host}/a.png", None)
    assert not proxy.requests


async def test_tls_passes_through_the_tunnel_of_a_proxy_with_the_certificates_of_the_client(tmp_path: Path) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.json_response({"code": 0, "data": {"remaining": 7}})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(tmp_path)).start()
    # no name is resolved here: that is left to the proxy
    provider = aw.Kaze("canary-1", base_url="https://api.provider.example")
    async with ForwardProxy(only=runner.addresses[0]) as proxy:
        async with aw.Client(provider, proxy=proxy.url, ssl=client_context()) as client:
            assert (await client.credits()).available == 7
        async with aw.Client(provider, proxy=proxy.url) as client:
            with pytest.raises(aw.ProviderUnavailable):
                await client.submit("https://images.example/a.png", deadline=0.4)
    await runner.cleanup()
    assert {target for _, target in proxy.requests} == {"api.provider.example:443"}


@pytest.mark.parametrize("url", ["proxy.example:3128", "socks5://127.0.0.1:1", "http://", "", 7])
def test_what_is_no_proxy_is_refused(url: Any) -> None:
    with pytest.raises(aw.InvalidInput, match="proxy"):
        aw.Client(aw.Kaze("canary-1"), proxy=url)


def test_what_is_no_tls_setting_is_refused() -> None:
    with pytest.raises(aw.InvalidInput, match="ssl"):
        aw.Client(aw.Kaze("canary-1"), ssl="cert.pem")  # type: ignore[arg-type]


def test_tls_settings_reach_every_connection() -> None:
    context = ssl.create_default_context()
    assert Network(ssl=context).tls is context
    assert Network().tls is True
    assert Network(ssl=False).tls is False


# connections


@pytest.mark.parametrize(
    "idle", [1.0, *(pytest.param(seconds, marks=pytest.mark.slow) for seconds in (4.0, 5.0, 60.0))]
)
async def test_a_server_that_closes_idle_connections_leaves_nothing_in_doubt(idle: float) -> None:
    """The request falls on the moment in which the server closes, as often as a test can afford."""
    accepted = 0

    async def answer(request: web.BaseRequest) -> web.Response:
        nonlocal accepted
        accepted += request.method == "POST"
        await request.read()
        return web.json_response({"status": 200, "data": {"task_id": f"t{accepted}", "state": 0}})

    server = web.Server(answer, keepalive_timeout=idle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"{LOCAL}{runner.addresses[0][1]}"
    provider = aw.PicWish("canary-1", base_url=url, polling=aw.Polling(3600), requests_per_second=None)
    async with aw.Client(provider, limits=aw.Limits(submissions=50)) as client:
        await asyncio.gather(*(client.submit(f"https://images.example/{number}.png") for number in range(20)))

        async def submit_late(number: int) -> None:
            await asyncio.sleep(idle + (number - 20) * 0.001)
            await client.submit(f"https://images.example/late-{number}.png")

        await asyncio.gather(*(submit_late(number) for number in range(40)))
    await runner.cleanup()
    assert accepted == 60


async def test_queries_that_hang_keep_no_submission_waiting() -> None:
    accepted = querying = 0
    hanging = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.Response:
        nonlocal accepted, querying
        await request.read()
        if request.method == "GET":
            querying += 1
            await hanging.wait()
        accepted += request.method == "POST"
        return web.json_response({"status": 200, "data": {"task_id": f"t{accepted}", "state": 0}})

    async with serve_handler(answer) as url:
        provider = aw.PicWish("canary-1", base_url=url, polling=aw.Polling(0.001), requests_per_second=None)
        async with aw.Client(provider, drain=0.0) as client:
            await asyncio.gather(*(client.submit(f"https://images.example/{number}.png") for number in range(150)))
            await wait_until(lambda: querying == 100)  # they have all connections for queries
            async with asyncio.timeout(20):
                await client.submit("https://images.example/one-more.png")
        hanging.set()
    assert accepted == 151
    assert querying == 100


async def test_many_jobs_of_a_provider_that_hangs_are_unsent_and_closing_is_quick() -> None:
    hanging, received = asyncio.Event(), 0

    async def hang(request: web.BaseRequest) -> web.Response:
        nonlocal received
        received += 1
        await hanging.wait()
        return web.Response()

    async with serve_handler(hang) as url:
        store = aw.MemoryStore()
        client = aw.Client(aw.PicWish("canary-1", base_url=url, requests_per_second=None), store=store, drain=1.0)
        async with client:
            waiting = [asyncio.create_task(client.submit(f"https://images.example/{n}.png")) for n in range(1000)]
            await wait_until(lambda: received == 16)
            began = asyncio.get_running_loop().time()
        took = asyncio.get_running_loop().time() - began
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        hanging.set()
        in_doubt = [record async for record in store.unfinished()]
    assert took < 1.0 + 10.0  # the drain, on a machine that is busy with other tests
    assert len(in_doubt) == 16
    assert sum(getattr(outcome, "token", None) is not None for outcome in outcomes) == 16


async def test_transfers_that_hang_keep_no_poll_no_submission_and_no_upload_waiting(emulator: Emulator) -> None:
    hanging, downloading = asyncio.Event(), 0

    async def hang(request: web.Request) -> web.StreamResponse:
        nonlocal downloading
        downloading += 1
        response = web.StreamResponse(headers={"Content-Length": "1000000", "Content-Type": "image/png"})
        await response.prepare(request)
        await hanging.wait()
        return response

    async with serve_handler(hang) as url:
        async with aw.Client(emulator.provider("dewatermark"), limits=aw.Limits(transfers=2)) as client:
            links = [f"{url}/{number}.png" for number in range(2)]
            # the SDK downloads a link for this provider
            slow = [asyncio.create_task(client.submit(link)) for link in links]
            await wait_until(lambda: downloading == 2)
            async with asyncio.timeout(20):
                assert (await client.credits()).available
                assert (await client.remove(make_mp4(4096))).url
                await client.submit(pictures.sample_photo())
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        hanging.set()


# names that cannot be resolved


class NameServer:
    """Resolves names of the running loop, except during an outage."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outage_until = 0.0
        self.refused = 0
        loop = asyncio.get_running_loop()
        self._resolve = loop.getaddrinfo
        monkeypatch.setattr(loop, "getaddrinfo", self.resolve)
        # a connection that is kept alive needs no name
        monkeypatch.setattr("aiowatermark.transport.network.sessions._QUERY_KEEPALIVE", 0.0)
        monkeypatch.setattr("aiowatermark.transport.network.sessions._PAID_KEEPALIVE", 0.0)
        monkeypatch.setattr(aiohttp.connector._DNSCacheTable, "expired", lambda *_: True)

    async def resolve(self, *names: Any, **settings: Any) -> Any:
        if clock.now() < self.outage_until:
            self.refused += 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await self._resolve(*names, **settings)


async def test_a_name_that_cannot_be_resolved_for_minutes_leaves_a_submission_unsent(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, store = NameServer(monkeypatch), aw.MemoryStore()
    with no_waiting():
        provider = emulator.provider("kaze", base_url=emulator.base_url.replace("127.0.0.1", "localhost"))
        async with aw.Client(provider, store=store) as client:
            names.outage_until = clock.now() + 180.0
            with pytest.raises(aw.ProviderUnavailable) as caught:
                await client.submit(pictures.sample_photo(), key="order-1")
            assert caught.value.sent is False
            assert await store.get("order-1") is None  # the key is free
            names.outage_until = 0.0
            assert (await client.remove(pictures.sample_photo(), key="order-1")).url
    assert emulator.charged["kaze"] == 1


async def test_a_name_that_cannot_be_resolved_for_minutes_only_lengthens_the_wait_for_a_job(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = NameServer(monkeypatch)
    with no_waiting():
        provider = emulator.provider("kaze", base_url=emulator.base_url.replace("127.0.0.1", "localhost"))
        async with aw.Client(provider) as client:
            emulator.kaze.processing = 20.0
            handle = await client.submit(pictures.sample_photo())
            began = clock.now()
            names.outage_until = began + 300.0
            assert (await handle).url
            assert clock.now() - began >= 300.0
    assert names.refused > 5
    assert emulator.charged["kaze"] == 1
