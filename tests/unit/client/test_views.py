"""A view of a client has another deadline or limits of its own, and everything else of the client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport
from tests.support.picwish import LINK, PENDING, scripted_client
from tests.support.waiting import run_ready_tasks

VIRTUAL_CLOCK = True


async def test_a_view_has_its_own_deadline_and_the_clients_jobs(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    loop = asyncio.get_running_loop()
    async with scripted_client(transport, deadline=500.0) as client:
        hasty = client.with_options(deadline=20.0)
        with pytest.raises(aw.DeadlineExceeded):
            await hasty.remove(LINK)
        assert 20.0 <= loop.time() < 30.0
        first = await client.submit(LINK, key="order-1")
        assert (await hasty.submit(LINK, key="order-1")) is first
        assert client.stats() == hasty.stats()
        assert hasty.provider is client.provider


async def test_a_view_takes_part_of_the_clients_slots_and_leaves_the_rest(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(in_flight=10)) as client:
        batch = client.with_options(limits=aw.Limits(in_flight=2))
        waiting = [asyncio.create_task(batch.remove(LINK)) for _ in range(5)]
        await run_ready_tasks()
        assert client.stats().in_flight == 2
        others = [asyncio.create_task(client.remove(LINK)) for _ in range(3)]
        await run_ready_tasks()
        assert client.stats().in_flight == 5
        transport.hold.set()
        await asyncio.gather(*waiting, *others)
    assert transport.submitted == 8


async def test_submissions_of_a_view_are_limited_until_they_are_answered(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    transport.hold = asyncio.Event()
    async with scripted_client(transport, drain=0.0) as client:
        careful = client.with_options(limits=aw.Limits(submissions=1))
        waiting = [asyncio.create_task(careful.submit(LINK)) for _ in range(3)]
        await run_ready_tasks()
        assert transport.submitted == 1
        transport.hold.set()
        await asyncio.gather(*waiting)  # each waits for the answer of the one before, not for its end
    assert transport.submitted == 3


async def test_a_job_that_fails_or_is_refused_gives_its_slots_back(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        view = client.with_options(limits=aw.Limits(in_flight=1, submissions=1))
        for _ in range(3):
            with pytest.raises(aw.InvalidInput):
                await view.remove(LINK, key="\n")
        waiting = asyncio.create_task(view.remove(LINK))
        cancelled = asyncio.create_task(view.remove(LINK))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert (await waiting).url
        assert (await view.remove(LINK)).url


async def test_a_stream_of_a_view_pulls_no_more_than_the_view_may_run(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    pulled = []

    def items() -> Iterator[str]:
        for number in range(10):
            pulled.append(number)
            yield LINK

    async with scripted_client(transport) as client:
        view = client.with_options(limits=aw.Limits(in_flight=3))
        stream = view.stream(items())
        first = asyncio.ensure_future(anext(stream))
        await run_ready_tasks()
        assert len(pulled) <= 3
        transport.hold.set()
        await first
        assert len([outcome async for outcome in stream]) == 9


async def test_a_view_of_a_view_shares_its_limits_unless_it_is_given_others(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport) as client:
        view = client.with_options(limits=aw.Limits(in_flight=1))
        same, other = view.with_options(deadline=60.0), view.with_options(limits=aw.Limits(in_flight=1))
        waiting = [asyncio.create_task(each.remove(LINK)) for each in (view, same, other)]
        await run_ready_tasks()
        assert client.stats().in_flight == 2
        transport.hold.set()
        await asyncio.gather(*waiting)


async def test_closing_the_client_closes_its_views_and_ends_their_waits(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, drain=0.0) as client:
        view = client.with_options(limits=aw.Limits(in_flight=1))
        assert view.ready
        waiting = [asyncio.create_task(view.remove(LINK)) for _ in range(2)]
        await run_ready_tasks()
    problems = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(problem, aw.WatermarkError) for problem in problems)
    assert transport.submitted == 1
    assert not view.ready
    with pytest.raises(aw.InvalidInput, match="closed"):
        await view.remove(LINK)


async def test_a_view_is_not_entered(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match="view"):
            async with client.with_options(deadline=5.0):
                pass
        assert client.ready


async def test_a_key_that_is_rotated_through_a_view_is_that_of_the_client(transport: ScriptedTransport) -> None:
    provider = aw.PicWish("canary-1", account="main", requests_per_second=None)
    async with scripted_client(transport, provider=provider) as client:
        view = client.with_options(deadline=5.0)
        view.provider = aw.PicWish("canary-2", account="main", requests_per_second=None)
        assert client.provider is view.provider
        assert client.provider.headers["X-API-KEY"] == "canary-2"


@pytest.mark.parametrize(
    "limits", [aw.Limits(transfers=3), aw.Limits(requests_per_second=1.0), aw.Limits(max_retry_after=9.0)]
)
async def test_a_limit_that_is_the_clients_is_refused_for_a_view(
    transport: ScriptedTransport, limits: aw.Limits
) -> None:
    client = scripted_client(transport)
    with pytest.raises(aw.InvalidInput, match="client's"):
        client.with_options(limits=limits)
    same = scripted_client(transport, limits=limits)
    same.with_options(limits=limits)
    same.with_options(limits=aw.Limits(in_flight=2))


async def test_options_of_a_view_are_checked(transport: ScriptedTransport) -> None:
    client = scripted_client(transport)
    with pytest.raises(aw.InvalidInput, match="deadline"):
        client.with_options(deadline=-1.0)
    with pytest.raises(aw.InvalidInput, match="Limits"):
        client.with_options(limits=5)  # type: ignore[arg-type]
