"""A submission ends accepted, rejected or in doubt, and is paid at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record

VIRTUAL_CLOCK = True
LINK = "https://pictures.example/a.png"
Make = Callable[..., Any]


def client(wire: Any, **settings: Any) -> aw.Client:
    return aw.Client(aw.PicWish("canary-1", requests_per_second=None), transport=wire, **settings)


async def test_an_accepted_job_is_submitted_once_and_awaitable_many_times(wire: Any) -> None:
    async with client(wire) as running:
        handle = await running.submit(LINK)
        first, second = await handle, await handle
    assert first is second
    assert wire.submitted == 1
    assert first.url == "https://x.example/a"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_a_fault_of_the_server_leaves_a_submission_in_doubt_and_is_not_sent_again(
    wire: Any, answer: Make, status: int
) -> None:
    wire.submits = [answer(status, message="oops")]
    async with client(wire) as running:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await running.submit(LINK)
    assert wire.submitted == 1
    assert caught.value.token is not None
    assert Record.from_token(caught.value.token).snapshot.status is aw.Status.IN_DOUBT


async def test_a_lost_answer_leaves_a_submission_in_doubt(wire: Any, broken: Make) -> None:
    wire.submits = [broken(sent=True)]
    async with client(wire) as running:
        with pytest.raises(aw.SubmissionInDoubt):
            await running.submit(LINK)
    assert wire.submitted == 1


@pytest.mark.parametrize("body", [b"<html>", b"", b"null", b"[1]", b'{"status":200}', b'{"status":200,"data":{}}'])
async def test_an_answer_that_makes_no_sense_leaves_a_submission_in_doubt(wire: Any, body: bytes) -> None:
    from aiowatermark.wire import Response

    wire.submits = [Response(200, {}, body)]
    async with client(wire) as running:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await running.submit(LINK)
    assert wire.submitted == 1
    assert caught.value.provider == "picwish"


async def test_what_provably_never_left_is_sent_again(wire: Any, broken: Make, answer: Make) -> None:
    wire.submits = [broken(sent=False), broken(sent=False), answer(status=200, data={"task_id": "t"})]
    async with client(wire) as running:
        handle = await running.submit(LINK)
        assert handle.task_id == "t"
    assert wire.submitted == 3


async def test_a_provider_that_is_never_reached_is_unavailable_and_nothing_is_remembered(
    wire: Any, broken: Make
) -> None:
    wire.submits = [lambda: broken(sent=False)]
    store = aw.MemoryStore()
    async with client(wire, store=store) as running:
        with pytest.raises(aw.ProviderUnavailable):
            await running.submit(LINK, key="mine")
        assert await store.get("mine") is None
    assert wire.submitted > 2


async def test_too_many_requests_are_waited_out_as_long_as_the_server_says(wire: Any, answer: Make) -> None:
    wire.submits = [answer(429, {"retry-after": "40"}), answer(status=200, data={"task_id": "t"})]
    async with client(wire) as running:
        await running.submit(LINK)
    assert wire.submitted == 2
    assert wire.times[1] - wire.times[0] >= 40


async def test_a_rate_limit_beyond_the_deadline_is_raised_with_its_hint(wire: Any, answer: Make) -> None:
    wire.submits = [answer(429, {"retry-after": "400"})]
    async with client(wire, deadline=60) as running:
        with pytest.raises(aw.RateLimited) as caught:
            await running.submit(LINK)
    assert caught.value.retry_after == 400
    assert wire.submitted == 1


async def test_too_many_requests_that_are_about_money_are_not_repeated(wire: Any, answer: Make) -> None:
    wire.submits = [answer(429, message="Insufficient credits")]
    async with client(wire) as running:
        with pytest.raises(aw.InsufficientCredits):
            await running.submit(LINK)
    assert wire.submitted == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, aw.Rejected),
        (401, aw.AuthenticationError),
        (402, aw.InsufficientCredits),
        (404, aw.Rejected),
        (413, aw.Rejected),
    ],
)
async def test_a_refused_submission_was_not_paid_and_its_key_is_free_again(
    wire: Any, answer: Make, status: int, kind: type[aw.WatermarkError]
) -> None:
    wire.submits = [answer(status, message="no"), answer(status=200, data={"task_id": "t"})]
    async with client(wire) as running:
        with pytest.raises(kind):
            await running.submit(LINK, key="mine")
        handle = await running.submit(LINK, key="mine")
    assert handle.task_id == "t"


async def test_the_same_key_gives_the_same_job_and_is_paid_once(wire: Any) -> None:
    async with client(wire) as running:
        handles = await asyncio.gather(*(running.submit(LINK, key="order-1") for _ in range(5)))
        results = await asyncio.gather(*handles)
        again = await running.remove(LINK, key="order-1")
    assert wire.submitted == 1
    assert {result.url for result in results} == {again.url}


async def test_another_job_under_a_used_key_is_an_error(wire: Any) -> None:
    async with client(wire) as running:
        await running.remove(LINK, key="order-1")
        with pytest.raises(aw.InvalidInput, match="order-1"):
            await running.remove("https://pictures.example/b.png", key="order-1")
    assert wire.submitted == 1


async def test_a_key_in_doubt_stays_in_doubt(wire: Any, broken: Make) -> None:
    wire.submits = [broken(sent=True)]
    async with client(wire) as running:
        for _ in range(2):
            with pytest.raises(aw.SubmissionInDoubt):
                await running.submit(LINK, key="order-1")
    assert wire.submitted == 1


async def test_no_more_submissions_are_under_way_than_allowed(wire: Any) -> None:
    wire.gate = asyncio.Event()
    async with client(wire, limits=aw.Limits(submissions=3)) as running:
        tasks = [asyncio.create_task(running.submit(f"{LINK}?{n}")) for n in range(10)]
        await asyncio.sleep(1)
        assert wire.submitted == 3
        wire.gate.set()
        await asyncio.gather(*tasks)
    assert wire.submitted == 10


async def test_no_more_jobs_are_in_flight_than_allowed(wire: Any, pending: Any) -> None:
    wire.looks = [pending]
    async with client(wire, limits=aw.Limits(in_flight=4), drain=0.0) as running:
        tasks = [asyncio.create_task(running.submit(f"{LINK}?{n}")) for n in range(10)]
        await asyncio.sleep(30)
        assert wire.submitted == 4
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_submit_cancelled_before_it_was_sent_is_called_off(wire: Any) -> None:
    wire.gate = asyncio.Event()
    async with client(wire, limits=aw.Limits(submissions=1)) as running:
        first = asyncio.create_task(running.submit(LINK))
        second = asyncio.create_task(running.submit(f"{LINK}?2"))
        await asyncio.sleep(1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        wire.gate.set()
        await first
        await asyncio.sleep(1)
        third = await running.submit(f"{LINK}?3")
    assert second.cancelled()
    assert wire.submitted == 2
    assert third.task_id == "task-1"


async def test_a_submit_cancelled_during_the_paid_request_is_answered_and_remembered_first(wire: Any) -> None:
    wire.gate = asyncio.Event()
    store = aw.MemoryStore()
    async with client(wire, store=store) as running:
        task = asyncio.create_task(running.submit(LINK, key="mine"))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)
        assert not task.done()
        wire.gate.set()
        await asyncio.gather(task, return_exceptions=True)
        record = await store.get("mine")
    assert task.cancelled()
    assert record is not None
    assert record.snapshot.task_id == "task-1"
    assert wire.submitted == 1


async def test_a_closing_client_waits_for_a_paid_request_and_says_the_tokens(
    wire: Any, pending: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wire.looks = [pending]
    async with client(wire) as running:
        handle = await running.submit(LINK)
    assert handle.token in caplog.text
    with pytest.raises(aw.WatermarkError, match="resume") as caught:
        await handle
    assert caught.value.token == handle.token


async def test_a_cancelled_awaiter_leaves_the_job(wire: Any, pending: Any, answer: Make) -> None:
    done = wire.looks[0]
    wire.looks = [pending, pending, pending, done]
    async with client(wire) as running:
        handle = await running.submit(LINK)
        awaiter = asyncio.create_task(_result(handle))
        await asyncio.sleep(2)
        awaiter.cancel()
        result = await handle
    assert result.url == "https://x.example/a"


async def _result(handle: aw.JobHandle) -> aw.Result:
    return await handle


async def test_a_closed_client_and_a_second_opening_are_clear_errors(wire: Any) -> None:
    running = client(wire)
    with pytest.raises(aw.InvalidInput, match="async with"):
        await running.submit(LINK)
    async with running:
        with pytest.raises(aw.InvalidInput, match="open already"):
            await running.__aenter__()
    with pytest.raises(aw.InvalidInput, match="closed"):
        await running.remove(LINK)
    assert wire.submitted == 0


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), "soon", True])
async def test_a_deadline_that_is_no_time_is_refused(wire: Any, deadline: Any) -> None:
    async with client(wire) as running:
        with pytest.raises(aw.InvalidInput, match="deadline"):
            await running.submit(LINK, deadline=deadline)
    assert wire.submitted == 0


@pytest.mark.parametrize("key", ["", "  ", "x" * 201, "a\nb", 7])
async def test_a_key_that_is_no_name_is_refused(wire: Any, key: Any) -> None:
    async with client(wire) as running:
        with pytest.raises(aw.InvalidInput, match="key"):
            await running.submit(LINK, key=key)
    assert wire.submitted == 0
