"""Cancel scopes of anyio, which cancel again at every await, keep no client from closing completely."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport
from tests.support.picwish import ACCEPTED, LINK, PENDING, scripted_client
from tests.support.stores import get_record
from tests.support.waiting import wait_until


async def leave_by_scope(work: Callable[[], Any], sent: Callable[[], bool]) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await wait_until(sent)
            scope.cancel()


async def leave_by_task_group(work: Callable[[], Any], sent: Callable[[], bool]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await wait_until(sent)
        group.cancel_scope.cancel()


async def leave_by_a_task_that_fails(work: Callable[[], Any], sent: Callable[[], bool]) -> None:
    async def fail() -> None:
        await wait_until(sent)
        raise ZeroDivisionError

    async def run_both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            group.start_soon(fail)

    with pytest.raises(ExceptionGroup):
        await run_both()


@pytest.mark.parametrize("leave", [leave_by_scope, leave_by_task_group, leave_by_a_task_that_fails])
async def test_the_answer_to_a_paid_request_is_awaited(
    caplog: pytest.LogCaptureFixture, leave: Callable[[Any, Any], Any]
) -> None:
    transport, store = ScriptedTransport([ACCEPTED], [PENDING]), aw.MemoryStore()
    transport.hold = asyncio.Event()

    async def work() -> None:
        async with scripted_client(transport, store=store, drain=60.0) as client:
            await client.remove(LINK, key="order-1")

    def sent() -> bool:
        if transport.submitted and transport.hold is not None:
            asyncio.get_running_loop().call_later(0.1, transport.hold.set)
        return bool(transport.submitted)

    await leave(work, sent)
    record = await get_record(store, "order-1")
    assert record.at_provider
    assert record.token in caplog.text


async def test_a_stream_in_a_scope_that_is_cancelled_pays_for_nothing_more() -> None:
    transport, store = ScriptedTransport([ACCEPTED], [PENDING]), aw.MemoryStore()
    transport.hold = asyncio.Event()
    async with scripted_client(transport, store=store, limits=aw.Limits(submissions=2)) as client:
        scope = anyio.CancelScope()
        cancelling = asyncio.create_task(cancel_after(scope, lambda: transport.submitted == 2))
        with scope:
            async for _ in client.stream([f"{LINK}?{number}" for number in range(100)]):
                pass
        await cancelling
        transport.hold.set()
        await wait_until(lambda: len(client._state.engine.jobs) == 2 if client._state.engine else True)
    assert transport.submitted == 2


async def cancel_after(scope: anyio.CancelScope, condition: Callable[[], object]) -> None:
    await wait_until(condition)
    scope.cancel()
