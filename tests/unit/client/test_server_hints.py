"""What a server asks to wait is kept within bounds, binds what it is about, and ends."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import pairwise
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.client.engine.sharing import CoordinatedRateLimiter, RateLimiter
from aiowatermark.testing import ScriptedTransport, json_response
from aiowatermark.transport.rate_limiter import LocalRateLimiter
from aiowatermark.transport.retry import bounded_hint, delay_before_attempt, respect_retry_after
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, delivery, scripted_client

VIRTUAL_CLOCK = True
DATE = "Fri, 27 Nov 2026 12:00:00 GMT"
TOO_SHORT = ["0", "-1", "-1e308", "0.0001", "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 27 Nov 2026 12:00:00 GMT"]
TOO_LONG = ["86400", "1e308", "1764244800", "Fri, 31 Dec 9999 23:59:59 GMT", "301"]
MEANINGLESS = ["nan", "inf", "-inf", "soon", "", "1 minute", "0x10", "Fri, 99 Foo 2026"]


def refusal(hint: str, status: int = 429) -> Any:
    return json_response(status, {"retry-after": hint, "date": DATE})


def gaps(transport: ScriptedTransport) -> list[float]:
    return [round(later - sooner, 3) for sooner, later in pairwise(transport.times)]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("hint", [*TOO_SHORT, *MEANINGLESS])
async def test_no_hint_makes_polls_more_frequent_than_the_schedule(
    transport: ScriptedTransport, hint: str, status: int
) -> None:
    transport.queries = [*[refusal(hint, status)] * 4, FINISHED]
    async with scripted_client(transport, polling=aw.Polling(2, 2, 10)) as client:
        await client.remove(LINK)
    assert gaps(transport) == [2, 4, 8, 10, 10]


async def test_a_schedule_of_milliseconds_is_slowed_down_by_a_hint_of_zero(transport: ScriptedTransport) -> None:
    transport.queries = [*[refusal("0", 503)] * 4, FINISHED]
    async with scripted_client(transport, polling=aw.Polling(0.001, 1, 0.001)) as client:
        await client.remove(LINK)
    assert gaps(transport)[1:] == [0.25] * 4


@pytest.mark.parametrize("hint", TOO_LONG)
async def test_a_poll_is_postponed_by_five_minutes_at_most(transport: ScriptedTransport, hint: str) -> None:
    transport.queries = [refusal(hint), FINISHED]
    async with scripted_client(transport) as client:
        await client.remove(LINK, deadline=86_400)
    assert gaps(transport)[-1] == 300


async def test_the_longest_wait_is_a_setting(transport: ScriptedTransport) -> None:
    transport.queries = [refusal("3600"), FINISHED]
    async with scripted_client(transport, limits=aw.Limits(max_retry_after=20)) as client:
        await client.remove(LINK)
    assert gaps(transport)[-1] == 20


@pytest.mark.parametrize("hint", TOO_LONG)
async def test_a_submission_waits_for_five_minutes_and_a_jitter_at_most(
    transport: ScriptedTransport, hint: str
) -> None:
    transport.submissions = [refusal(hint), ACCEPTED]
    async with scripted_client(transport, deadline=86_400 * 30) as client:
        await client.submit(LINK)
        await client.submit(LINK)
    assert 300 <= transport.times[1] - transport.times[0] <= 331
    assert transport.times[2] - transport.times[1] < 1


@pytest.mark.parametrize("hint", ["1", *TOO_SHORT, *MEANINGLESS])
async def test_a_batch_outlasts_a_provider_that_is_busy_for_minutes(transport: ScriptedTransport, hint: str) -> None:
    loop = asyncio.get_running_loop()
    transport.submissions = [lambda: refusal(hint) if loop.time() < 300 else ACCEPTED]
    async with scripted_client(transport) as client:
        outcomes = [outcome async for outcome in client.stream([f"{LINK}?{number}" for number in range(40)])]
    assert [type(outcome) for outcome in outcomes] == [aw.Done] * 40
    # 16 submissions at once, each at most four times a second
    assert transport.submitted < 300 * 16 * 4


async def test_a_submission_that_is_refused_for_haste_ends_at_its_deadline(transport: ScriptedTransport) -> None:
    transport.submissions = [json_response(429)]
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store, deadline=600) as client:
        with pytest.raises(aw.RateLimited):
            await client.submit(LINK, key="mine")
        assert await store.get("mine") is None
    assert 500 < asyncio.get_running_loop().time() < 601
    assert 12 < transport.submitted < 600


async def test_a_long_pause_does_not_keep_other_jobs_from_being_polled(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    async with scripted_client(transport, deadline=100, polling=aw.Polling(5, 1, 5)) as client:
        waiting = [asyncio.create_task(client.remove(f"{LINK}?{number}")) for number in range(3)]
        await asyncio.sleep(5.5)
        transport.queries = [refusal("86400"), PENDING, PENDING, FINISHED]
        first, second, third = [await each for each in asyncio.as_completed(waiting)]
        times = sorted(transport.times)
    assert first.key != second.key != third.key
    assert times[-2] < 20  # two jobs
    assert times[-1] == pytest.approx(100, abs=1)  # the one whose query was refused: once more, at its deadline


async def test_a_long_pause_does_not_keep_a_job_whose_callback_came_from_being_polled(
    transport: ScriptedTransport,
) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    async with scripted_client(transport, callbacks=receiver) as client:
        handle = await client.submit(LINK)
        transport.submissions = [refusal("3600")]
        refused = asyncio.create_task(client.submit(f"{LINK}?2"))
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        (deliver, *_) = registry_of(receiver)._expected.values()
        deliver(delivery(status=200, data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"}))
        await handle
        assert asyncio.get_running_loop().time() - began < 2
        refused.cancel()
        await asyncio.gather(refused, return_exceptions=True)


class OneReplica:
    """A coordinator that notes what it is asked for."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def acquire(self, account: str, rate: float | None, *, is_submission: bool) -> None:
        pass

    async def pause(self, account: str, seconds: float) -> None:
        self.pauses.append(seconds)

    def slot(self, account: str, limit: int) -> AbstractAsyncContextManager[None]:
        return nullcontext()


def coordinated() -> RateLimiter:
    replica: Any = OneReplica()
    return CoordinatedRateLimiter(replica, "account", 10.0)


@pytest.mark.parametrize("create", [lambda: LocalRateLimiter(10.0), lambda: LocalRateLimiter(None), coordinated])
async def test_a_pause_of_more_than_a_minute_binds_submissions_only(create: Any) -> None:
    loop, limiter = asyncio.get_running_loop(), create()
    await limiter.pause_for(200.0)
    submission = asyncio.create_task(limiter.acquire(is_submission=True, until=1000.0))
    await asyncio.sleep(1)
    for _ in range(10):
        await limiter.acquire(is_submission=False, until=1000.0)
    assert loop.time() < 3
    await submission
    assert 200 <= loop.time() <= 201


@pytest.mark.parametrize("create", [lambda: LocalRateLimiter(None), coordinated])
async def test_a_submission_that_cannot_start_before_its_deadline_is_refused_at_once(create: Any) -> None:
    limiter = create()
    await limiter.pause_for(200.0)
    with pytest.raises(aw.RateLimited) as caught:
        await limiter.acquire(is_submission=True, until=100.0)
    assert caught.value.retry_after == pytest.approx(200.0)
    assert asyncio.get_running_loop().time() < 1


async def test_a_pause_of_a_minute_binds_all_requests() -> None:
    limiter = LocalRateLimiter(None)
    await limiter.pause_for(60.0)
    await limiter.acquire(is_submission=False, until=1000.0)
    assert asyncio.get_running_loop().time() == pytest.approx(60.0)


async def test_replicas_share_short_pauses_only_so_that_none_outlives_its_cause() -> None:
    replica: Any = OneReplica()
    limiter = CoordinatedRateLimiter(replica, "account", None)
    for seconds in (5.0, 60.0, 60.1, 300.0):
        await limiter.pause_for(seconds)
    assert replica.pauses == [5.0, 60.0]


@pytest.mark.parametrize(
    ("hint", "bounded"),
    [(None, None), (float("nan"), None), (0, 0.25), (-7, 0.25), (3, 3), (1e308, 300), (float("inf"), 300)],
)
def test_hints_are_bounded(hint: float | None, bounded: float | None) -> None:
    assert bounded_hint(hint) == bounded


def test_a_delay_is_never_shorter_than_its_own_step() -> None:
    assert respect_retry_after(20.0, 1.0) == 20.0
    assert respect_retry_after(0.0, 0.0) == 0.25
    assert respect_retry_after(1.0, None) == 1.0
    assert 300 <= respect_retry_after(30.0, 1e308) <= 330


def test_delays_without_an_end_stay_within_their_bound() -> None:
    assert delay_before_attempt(6, 6) is None
    assert all(0 <= (delay_before_attempt(attempt, None) or 0) <= 30 for attempt in (1, 6, 7, 2000))


@pytest.mark.parametrize("value", [0, -1, float("nan"), "1", None, True])
def test_a_longest_wait_that_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(aw.InvalidInput, match="max_retry_after"):
        aw.Limits(max_retry_after=value)


@pytest.mark.parametrize("settings", [{"first": 0}, {"first": float("nan")}, {"factor": 0.5}, {"ceiling": "1"}])
def test_a_schedule_without_pauses_is_refused(settings: Any) -> None:
    with pytest.raises(aw.InvalidInput, match="polling"):
        aw.Polling(**settings)
