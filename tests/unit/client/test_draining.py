"""A client that drains finishes what runs and takes nothing new; keys are rotated while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport
from tests.support.http_server import serve_handler
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, scripted_client

VIRTUAL_CLOCK = True


async def drain_soon(client: aw.Client, seconds: float | None = None) -> asyncio.Task[bool]:
    draining = asyncio.create_task(client.drain(seconds))
    await asyncio.sleep(0)
    return draining


async def test_a_client_is_ready_from_opening_until_it_drains_or_closes(transport: ScriptedTransport) -> None:
    client = scripted_client(transport)
    assert not client.ready
    async with client:
        assert client.ready
        assert await client.drain()
        assert not client.ready
        assert "draining" in repr(client)
    assert not client.ready
    async with client:
        assert client.ready  # opened again
    assert not client.ready


async def test_running_and_queued_jobs_end_and_nothing_new_is_taken(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING, PENDING, PENDING, PENDING, FINISHED]
    async with scripted_client(transport, limits=aw.Limits(in_flight=2)) as client:
        running = [asyncio.create_task(client.remove(f"{LINK}?{number}")) for number in range(4)]
        await asyncio.sleep(0.5)
        token = (await client.submit(LINK)).token
        draining = await drain_soon(client)
        refused: list[Callable[[], Any]] = [
            lambda: client.submit(LINK),
            lambda: client.remove(LINK),
            client.recover,
            lambda: anext(client.stream([LINK])),
        ]
        for call in refused:
            with pytest.raises(aw.InvalidInput, match="drains"):
                await call()
        with pytest.raises(aw.InvalidInput, match="drains"):
            client.resume(token)
        assert await draining
        assert all(isinstance(result, aw.Result) for result in await asyncio.gather(*running))
    assert transport.submitted == 5


async def test_a_drain_ends_in_time_and_tells_that_jobs_are_left(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    transport.queries = [PENDING]
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        handle = await client.submit(LINK, key="order-1")
        began = asyncio.get_running_loop().time()
        assert not await client.drain(10.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(10.0)
    assert handle.token in caplog.text
    async with scripted_client(transport, store=store) as other:
        assert [each.key for each in (await other.recover()).resumed] == ["order-1"]


async def test_a_stream_ends_when_its_client_drains(transport: ScriptedTransport) -> None:
    async def endless() -> AsyncIterator[str]:
        number = 0
        while True:
            yield f"{LINK}?{(number := number + 1)}"
            await asyncio.sleep(1)

    outcomes: list[aw.Outcome[str]] = []

    async def read(client: aw.Client) -> None:
        async for outcome in client.stream(endless()):
            outcomes.append(outcome)  # noqa: PERF401

    async with scripted_client(transport) as client:
        reading = asyncio.create_task(read(client))
        await asyncio.sleep(10.5)
        assert await client.drain()
        with pytest.raises(aw.InvalidInput, match="drains"):
            await reading
    assert sum(isinstance(outcome, aw.Done) for outcome in outcomes) == transport.submitted
    assert len(outcomes) - transport.submitted <= 1  # the item for which the source was waiting


async def test_a_drain_waits_for_result_handlers(transport: ScriptedTransport) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    handled: list[str] = []

    @receiver.on_result
    async def handle(result: aw.Result) -> None:
        await asyncio.sleep(5)
        handled.append(result.key)

    async with scripted_client(transport, callbacks=receiver, polling=aw.Polling(1)) as client:
        await client.submit(LINK, key="order-1")
        await client.drain()
        assert handled == ["order-1"]


@pytest.mark.parametrize("seconds", [-1, float("nan"), "5", True])
async def test_a_drain_of_no_time_is_refused(transport: ScriptedTransport, seconds: Any) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match="seconds"):
            await client.drain(seconds)


# keys


@pytest.mark.parametrize("own_session", [False, True])
async def test_a_rotated_key_is_used_from_the_next_request_on(own_session: bool) -> None:
    import aiohttp

    keys: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        keys.append(request.headers["X-API-KEY"])
        answers = {"POST": ACCEPTED, "GET": PENDING if len(keys) < 4 else FINISHED}
        return web.Response(body=answers[request.method].body, content_type="application/json")

    async with serve_handler(answer) as url, aiohttp.ClientSession() as session:
        first = aw.PicWish("canary-first", base_url=url, polling=aw.Polling(0.001, 1, 0.001))
        async with aw.Client(first, session=session if own_session else None) as client:
            handle = await client.submit(LINK)
            client.provider = aw.PicWish("canary-second", base_url=url)
            await handle
            assert client.provider.account == first.account
    assert keys[0] == "canary-first"
    assert set(keys[1:]) == {"canary-second"}


async def test_a_key_that_was_rotated_while_the_client_was_closed_is_used() -> None:
    client = aw.Client(aw.PicWish("canary-first"))
    client.provider = aw.PicWish("canary-second")
    async with client:
        assert client.provider.headers["X-API-KEY"] == "canary-second"


@pytest.mark.parametrize(
    "other",
    [
        aw.Kaze("canary-2"),
        aw.PicWish("canary-2", base_url="https://elsewhere.example"),
        aw.PicWish("canary-2", account="another"),
    ],
)
async def test_a_client_stays_with_its_account(transport: ScriptedTransport, other: aw.Provider) -> None:
    async with scripted_client(transport) as client:
        before = client.provider
        with pytest.raises(aw.InvalidInput):
            client.provider = other
        assert client.provider is before


async def test_a_client_that_drains_polls_jobs_that_wait_for_callbacks_on_the_providers_schedule() -> None:
    """A service that stops has closed its listener: no callback comes any more."""
    transport = ScriptedTransport([ACCEPTED], [PENDING, PENDING, PENDING, FINISHED])
    receiver = aw.CallbackReceiver("https://hooks.example.com/wm")
    provider = aw.PicWish("canary-1", requests_per_second=None, polling=aw.Polling(2.0, 1.0, 2.0))
    async with scripted_client(transport, provider=provider, callbacks=receiver) as client:
        handle = await client.submit(LINK)
        await asyncio.sleep(1.0)
        assert await client.drain()
        assert (await handle).url
    submitted, *polls = transport.times
    assert [time - submitted for time in polls] == pytest.approx([1.0, 3.0, 5.0, 7.0], abs=0.01)
