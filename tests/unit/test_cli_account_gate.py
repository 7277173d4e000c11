"""The gate of an account: what is not sent when the provider refuses the account, and what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from aiowatermark import AuthenticationError, InsufficientCredits, JobHandle, MemoryStore, Rejected, WatermarkError
from aiowatermark.cli.batch.account import AccountGate, NotSent
from tests.support.records import accept, make_record

Start = Callable[[], Coroutine[Any, Any, JobHandle]]
HANDLE = cast("JobHandle", object())


def refuse(error: WatermarkError) -> Start:
    async def start() -> JobHandle:
        raise error

    return start


async def succeed() -> JobHandle:
    return HANDLE


@pytest.fixture
async def gate() -> AccountGate:
    return AccountGate(MemoryStore())


async def test_missing_credits_are_believed_at_once(gate: AccountGate) -> None:
    with pytest.raises(InsufficientCredits):
        await gate.submit("a", refuse(InsufficientCredits("none")))
    with pytest.raises(NotSent, match="not sent: none"):
        await gate.submit("b", succeed)


async def test_a_bad_key_is_believed_when_nothing_was_accepted_between_two_refusals(gate: AccountGate) -> None:
    for name in ("a", "b"):
        with pytest.raises(AuthenticationError):
            await gate.submit(name, refuse(AuthenticationError("no")))
        if name == "a":
            assert await gate.submit("c", succeed) is HANDLE
    assert gate.refusal is None
    with pytest.raises(AuthenticationError):
        await gate.submit("d", refuse(AuthenticationError("no")))
    with pytest.raises(NotSent):
        await gate.submit("e", succeed)


async def test_a_refusal_of_one_job_concerns_no_other(gate: AccountGate) -> None:
    for _ in range(3):
        with pytest.raises(Rejected):
            await gate.submit("a", refuse(Rejected("too large")))
    assert await gate.submit("b", succeed) is HANDLE


async def test_what_waits_unsent_is_cancelled_and_what_was_sent_is_waited_for(gate: AccountGate) -> None:
    await gate.store.open(accept(make_record("sent")))
    answered = asyncio.Event()

    async def wait() -> JobHandle:
        await answered.wait()
        return HANDLE

    sent, unsent = (asyncio.create_task(gate.submit(key, wait)) for key in ("sent", "unsent"))
    await asyncio.sleep(0)
    with pytest.raises(InsufficientCredits):
        await gate.submit("a", refuse(InsufficientCredits("none")))
    with pytest.raises(NotSent):
        await unsent
    assert not sent.done()
    answered.set()
    assert await sent is HANDLE


async def test_a_job_that_was_sent_while_it_was_cancelled_is_joined(gate: AccountGate) -> None:
    async def send_when_cancelled() -> JobHandle:
        if await gate.store.get("a") is not None:
            return HANDLE
        try:
            await asyncio.Event().wait()
        finally:
            await gate.store.open(accept(make_record("a")))
        raise AssertionError

    late = asyncio.create_task(gate.submit("a", send_when_cancelled))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(InsufficientCredits):
        await gate.submit("b", refuse(InsufficientCredits("none")))
    assert await late is HANDLE


async def test_a_cancelled_caller_cancels_its_submission(gate: AccountGate) -> None:
    cancelled = asyncio.Event()

    async def wait() -> JobHandle:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    caller = asyncio.create_task(gate.submit("a", wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await cancelled.wait()
