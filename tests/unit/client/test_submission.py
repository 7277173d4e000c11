"""A submission ends accepted, rejected or in doubt, and is paid at most once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from aiowatermark.wire import Request, Response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, scripted_client

VIRTUAL_CLOCK = True


async def test_an_accepted_job_is_submitted_once_and_may_be_awaited_many_times(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
        first, second = await handle, await handle
    assert first is second
    assert transport.submitted == 1
    assert first.url == "https://x.example/a"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_a_server_error_leaves_a_submission_in_doubt_and_it_is_not_sent_again(
    transport: ScriptedTransport, status: int
) -> None:
    transport.submissions = [json_response(status, message="oops")]
    async with scripted_client(transport) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.submit(LINK)
    assert transport.submitted == 1
    assert caught.value.token is not None
    assert Record.from_token(caught.value.token).snapshot.status is aw.Status.IN_DOUBT


async def test_a_lost_answer_leaves_a_submission_in_doubt(transport: ScriptedTransport) -> None:
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(LINK)
    assert transport.submitted == 1


@pytest.mark.parametrize("body", [b"<html>", b"", b"null", b"[1]", b'{"status":200}', b'{"status":200,"data":{}}'])
async def test_an_answer_that_cannot_be_parsed_leaves_a_submission_in_doubt(
    transport: ScriptedTransport, body: bytes
) -> None:
    from aiowatermark.wire import Response

    transport.submissions = [Response(200, {}, body)]
    async with scripted_client(transport) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.submit(LINK)
    assert transport.submitted == 1
    assert caught.value.provider == "picwish"


async def test_a_request_that_was_provably_not_sent_is_repeated(transport: ScriptedTransport) -> None:
    transport.submissions = [
        connection_lost(sent=False),
        connection_lost(sent=False),
        json_response(status=200, data={"task_id": "t"}),
    ]
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
        assert handle.task_id == "t"
    assert transport.submitted == 3


async def test_a_provider_that_cannot_be_reached_is_unavailable_and_no_record_is_kept(
    transport: ScriptedTransport,
) -> None:
    transport.submissions = [lambda: connection_lost(sent=False)]
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.ProviderUnavailable):
            await client.submit(LINK, key="mine")
        assert await store.get("mine") is None
    assert transport.submitted > 2


async def test_a_429_is_repeated_after_the_time_the_server_asks_for(transport: ScriptedTransport) -> None:
    transport.submissions = [
        json_response(429, {"retry-after": "40"}),
        json_response(status=200, data={"task_id": "t"}),
    ]
    async with scripted_client(transport) as client:
        await client.submit(LINK)
    assert transport.submitted == 2
    assert transport.times[1] - transport.times[0] >= 40


async def test_a_rate_limit_beyond_the_deadline_is_raised_with_retry_after(transport: ScriptedTransport) -> None:
    transport.submissions = [json_response(429, {"retry-after": "400"})]
    async with scripted_client(transport, deadline=60) as client:
        with pytest.raises(aw.RateLimited) as caught:
            await client.submit(LINK)
    assert caught.value.retry_after == 400
    assert transport.submitted == 1


async def test_a_429_about_credits_is_not_repeated(transport: ScriptedTransport) -> None:
    transport.submissions = [json_response(429, message="Insufficient credits")]
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InsufficientCredits):
            await client.submit(LINK)
    assert transport.submitted == 1


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
async def test_a_rejected_submission_frees_its_key(
    transport: ScriptedTransport, status: int, kind: type[aw.WatermarkError]
) -> None:
    transport.submissions = [json_response(status, message="no"), json_response(status=200, data={"task_id": "t"})]
    async with scripted_client(transport) as client:
        with pytest.raises(kind):
            await client.submit(LINK, key="mine")
        handle = await client.submit(LINK, key="mine")
    assert handle.task_id == "t"


async def test_the_same_key_returns_the_same_job_and_is_paid_once(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        handles = await asyncio.gather(*(client.submit(LINK, key="order-1") for _ in range(5)))
        results = await asyncio.gather(*handles)
        again = await client.remove(LINK, key="order-1")
    assert transport.submitted == 1
    assert {result.url for result in results} == {again.url}


async def test_a_used_key_with_another_job_is_invalid_input(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        await client.remove(LINK, key="order-1")
        with pytest.raises(aw.InvalidInput, match="order-1"):
            await client.remove("https://images.example/b.png", key="order-1")
    assert transport.submitted == 1


async def test_submitting_a_key_in_doubt_again_raises_and_sends_nothing(transport: ScriptedTransport) -> None:
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport) as client:
        for _ in range(2):
            with pytest.raises(aw.SubmissionInDoubt):
                await client.submit(LINK, key="order-1")
    assert transport.submitted == 1


async def test_concurrent_submissions_stay_within_the_limit(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(submissions=3)) as client:
        tasks = [asyncio.create_task(client.submit(f"{LINK}?{n}")) for n in range(10)]
        await asyncio.sleep(1)
        assert transport.submitted == 3
        transport.hold.set()
        await asyncio.gather(*tasks)
    assert transport.submitted == 10


async def test_jobs_in_flight_stay_within_the_limit(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    async with scripted_client(transport, limits=aw.Limits(in_flight=4), drain=0.0) as client:
        tasks = [asyncio.create_task(client.submit(f"{LINK}?{n}")) for n in range(10)]
        await asyncio.sleep(30)
        assert transport.submitted == 4
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_submit_cancelled_before_it_was_sent_never_sends(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(submissions=1)) as client:
        first = asyncio.create_task(client.submit(LINK))
        second = asyncio.create_task(client.submit(f"{LINK}?2"))
        await asyncio.sleep(1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        transport.hold.set()
        await first
        await asyncio.sleep(1)
        third = await client.submit(f"{LINK}?3")
    assert second.cancelled()
    assert transport.submitted == 2
    assert third.task_id == "task-1"


async def test_a_submit_cancelled_during_the_paid_request_records_the_answer_first(
    transport: ScriptedTransport,
) -> None:
    transport.hold = asyncio.Event()
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        task = asyncio.create_task(client.submit(LINK, key="mine"))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)
        assert not task.done()
        transport.hold.set()
        await asyncio.gather(task, return_exceptions=True)
        record = await store.get("mine")
    assert task.cancelled()
    assert record is not None
    assert record.snapshot.task_id == "task-1"
    assert transport.submitted == 1


async def test_closing_logs_the_tokens_of_unfinished_jobs(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    transport.queries = [PENDING]
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
    assert handle.token in caplog.text
    with pytest.raises(aw.WatermarkError, match="resume") as caught:
        await handle
    assert caught.value.token == handle.token


async def test_cancelling_an_awaiter_leaves_the_job(transport: ScriptedTransport) -> None:
    done = transport.queries[0]
    transport.queries = [PENDING, PENDING, PENDING, done]
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
        awaiter = asyncio.create_task(_result(handle))
        await asyncio.sleep(2)
        awaiter.cancel()
        result = await handle
    assert result.url == "https://x.example/a"


async def _result(handle: aw.JobHandle) -> aw.Result:
    return await handle


async def test_using_a_closed_client_or_opening_it_twice_is_invalid_input(transport: ScriptedTransport) -> None:
    client = scripted_client(transport)
    with pytest.raises(aw.InvalidInput, match="async with"):
        await client.submit(LINK)
    async with client:
        with pytest.raises(aw.InvalidInput, match="already open"):
            await client.__aenter__()
    with pytest.raises(aw.InvalidInput, match="closed"):
        await client.remove(LINK)
    assert transport.submitted == 0


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), "soon", True])
async def test_a_deadline_that_is_not_a_positive_number_is_invalid_input(
    transport: ScriptedTransport, deadline: Any
) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match="deadline"):
            await client.submit(LINK, deadline=deadline)
    assert transport.submitted == 0


@pytest.mark.parametrize("key", ["", "  ", "x" * 201, "a\nb", 7])
async def test_a_key_that_is_not_a_printable_text_is_invalid_input(transport: ScriptedTransport, key: Any) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match="key"):
            await client.submit(LINK, key=key)
    assert transport.submitted == 0


class FailsBeforeSending(ScriptedTransport):
    """A transport that fails locally, before it writes anything, and works from the second request on."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(submissions=[ACCEPTED], queries=[FINISHED])
        self.error: BaseException | None = error

    async def perform(self, request: Request, **settings: Any) -> Response:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return await super().perform(request, **settings)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError(), OSError("too many open files"), ValueError()])
async def test_a_local_failure_before_the_headers_are_written_pays_nothing_and_frees_the_key(error: Exception) -> None:
    store, transport = aw.MemoryStore(), FailsBeforeSending(error)
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.WatermarkError, match=type(error).__name__) as caught:
            await client.submit(LINK, key="order-1")
        assert caught.value.__cause__ is error
        assert caught.value.token is None
        assert await store.get("order-1") is None
        assert (await client.remove(LINK, key="order-1")).url
    assert transport.submitted == 1


async def test_a_submit_cancelled_before_the_headers_are_written_frees_the_key() -> None:
    store, transport = aw.MemoryStore(), FailsBeforeSending(asyncio.CancelledError())
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.WatermarkError, match="cancelled before anything was sent"):
            await client.submit(LINK, key="order-1")
        assert await store.get("order-1") is None
        assert (await client.remove(LINK, key="order-1")).url


async def test_an_unexpected_error_after_the_headers_were_written_leaves_a_submission_in_doubt() -> None:
    transport = ScriptedTransport(submissions=[RuntimeError("a bug")])
    async with scripted_client(transport) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(LINK, key="order-1")
    assert transport.submitted == 1


async def test_a_task_id_that_another_job_was_given_is_an_error_in_the_log_and_in_the_records_history(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        await client.remove("https://example.com/one.jpg", key="one")
        await client.remove("https://example.com/another.jpg", key="another")
    record = await store.get("another")
    assert record is not None
    assert "was given the task task-1 of the job one" in record.history[-1]
    assert record.history[-1] in caplog.text


async def test_jobs_of_the_same_work_may_share_a_task(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted_client(transport) as client:
        for _ in range(2):
            await client.remove("https://example.com/one.jpg")
    assert "was given the task" not in caplog.text
