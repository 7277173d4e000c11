"""The gate of an account: what is not sent when the provider refuses the account, and what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from aiowatermark import (
    AuthenticationError,
    InsufficientCredits,
    JobHandle,
    MemoryStore,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    StoreError,
    WatermarkError,
)
from aiowatermark.cli.batch.account import AccountGate, NotSent
from aiowatermark.jobs import Record
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


async def wait_for_ever() -> JobHandle:
    await asyncio.Event().wait()
    raise AssertionError


class SlowStore(MemoryStore):
    """A store whose first look-up of a key is answered only when that was inserted meanwhile."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.asked, self.inserted = asyncio.Event(), asyncio.Event()

    async def get(self, key: str) -> Record | None:
        """Return what was there when the request came."""
        found = await super().get(key)
        if key == self.key and not self.asked.is_set():
            self.asked.set()
            await self.inserted.wait()
        return found


async def test_a_submission_that_joins_one_that_is_being_cancelled_is_not_sent() -> None:
    store = SlowStore("late")
    gate = AccountGate(store)
    starts = 0

    async def start() -> JobHandle:
        nonlocal starts
        starts += 1
        if starts == 1:
            await store.asked.wait()
            await store.open(make_record("late"))  # sent, as far as the store knows
            store.inserted.set()
            return await wait_for_ever()
        await store.forget(make_record("late"))
        raise WatermarkError("the submission was cancelled before anything was sent")

    late = asyncio.create_task(gate.submit("late", start))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(InsufficientCredits):
        await gate.submit("a", refuse(InsufficientCredits("none")))
    with pytest.raises(NotSent, match="not sent: none"):
        await late
    assert starts == 2


async def test_another_error_of_a_closed_gate_stays_what_it_is(gate: AccountGate) -> None:
    await gate.store.open(accept(make_record("open")))
    with pytest.raises(InsufficientCredits):
        await gate.submit("a", refuse(InsufficientCredits("none")))
    with pytest.raises(WatermarkError, match=r"^closed$"):
        await gate.submit("open", refuse(WatermarkError("closed")))


class FailingStore(MemoryStore):
    """A store that cannot look up one key, and notes how many look-ups run at once."""

    running = most = 0

    async def get(self, key: str) -> Record | None:
        """Look up a key, in the time of one step of the event loop."""
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if key == "unknown":
                raise StoreError("no answer")
            return await super().get(key)
        finally:
            self.running -= 1


async def test_a_store_that_fails_replaces_no_refusal_and_stops_no_other_cancellation() -> None:
    gate = AccountGate(store := FailingStore())
    waiting = {key: asyncio.create_task(gate.submit(key, wait_for_ever)) for key in ("unknown", "one", "two")}
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(InsufficientCredits):
        await gate.submit("a", refuse(InsufficientCredits("none")))
    assert store.most == 3, "the look-ups run together"
    for key in ("one", "two"):
        with pytest.raises(NotSent):
            await waiting[key]
    assert not waiting["unknown"].done(), "it may have been sent, so that its answer is waited for"
    waiting["unknown"].cancel()
    await asyncio.wait([waiting["unknown"]])


def answered(error: WatermarkError) -> WatermarkError:
    error.status = 429 if isinstance(error, RateLimited) else 400
    return error


@pytest.mark.parametrize(
    ("between", "proves"),
    [
        (answered(Rejected("too large")), True),
        (answered(RateLimited("too many")), True),
        (RateLimited("no slot before the deadline"), False),
        (ProviderUnavailable("no connection"), False),
    ],
    ids=["rejected", "rate limited", "own rate limit", "not connected"],
)
async def test_only_an_answer_that_proves_the_key_parts_two_refusals_of_it(
    gate: AccountGate, between: WatermarkError, proves: bool
) -> None:
    for error in (AuthenticationError("no"), between, AuthenticationError("no")):
        with pytest.raises(type(error)):
            await gate.submit("a", refuse(error))
    assert (gate.refusal is None) is proves


async def test_an_error_of_the_wait_for_a_video_closes_the_gate(gate: AccountGate) -> None:
    assert await gate.submit("video", succeed) is HANDLE
    await gate.note_error(InsufficientCredits("none"))
    with pytest.raises(NotSent):
        await gate.submit("b", succeed)
