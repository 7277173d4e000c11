"""A wait ends with the job or its deadline, and with nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.picwish import FINISHED, LINK, PENDING, scripted_client

VIRTUAL_CLOCK = True
DAY = 86_400.0


async def test_failed_queries_never_end_a_wait(transport: ScriptedTransport) -> None:
    done = transport.queries[0]
    from aiowatermark.wire import Response

    transport.queries = [
        connection_lost(sent=True),
        json_response(500),
        Response(200, {}, b"<html>"),
        json_response(429),
        json_response(503),
        PENDING,
        done,
    ]
    async with scripted_client(transport) as client:
        result = await client.remove(LINK)
    assert result.url


async def test_the_deadline_ends_a_wait_and_the_token_resumes_it(transport: ScriptedTransport) -> None:
    done = transport.queries[0]
    transport.queries = [PENDING]
    async with scripted_client(transport, deadline=100) as client:
        with pytest.raises(aw.DeadlineExceeded) as caught:
            await client.remove(LINK)
        assert isinstance(caught.value, TimeoutError)
        transport.queries = [done]
        assert caught.value.token is not None
        result = await client.resume(caught.value.token)
    assert result.url
    assert transport.submitted == 1


async def test_a_deadline_error_names_the_last_failed_query(transport: ScriptedTransport) -> None:
    transport.queries = [json_response(500, message="down for cleaning")]
    async with scripted_client(transport, deadline=100) as client:
        with pytest.raises(aw.DeadlineExceeded, match="down for cleaning"):
            await client.remove(LINK)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, aw.AuthenticationError),
        (403, aw.AuthenticationError),
        (400, aw.UnexpectedAnswer),
        (402, aw.UnexpectedAnswer),
        (404, aw.JobNotFound),
    ],
)
async def test_a_refused_query_ends_a_wait_only_when_it_is_refused_twice(
    transport: ScriptedTransport, status: int, kind: type[Exception]
) -> None:
    done = transport.queries[0]
    transport.queries = [json_response(status), done]
    async with scripted_client(transport) as client:
        assert (await client.remove(LINK)).url
        transport.queries = [json_response(status)]
        with pytest.raises(kind) as caught:
            await client.remove(LINK)
    assert getattr(caught.value, "token", None)
    assert not isinstance(caught.value, aw.Rejected | aw.InsufficientCredits)  # which say that nothing was paid


async def wait_for_unknown_task(transport: ScriptedTransport, **answer: Any) -> tuple[float, aw.JobNotFound]:
    """Remove with a provider that answers 404 to every query; returns how long it took, and the error."""
    transport.queries = [json_response(404, **answer)]
    started = asyncio.get_running_loop().time()
    async with scripted_client(transport, polling=aw.Polling(1, 1, 1)) as client:
        with pytest.raises(aw.JobNotFound) as caught:
            await client.remove(LINK, key="order-1")
        # its key stays used, and gives the same error again
        with pytest.raises(aw.JobNotFound):
            await client.remove(LINK, key="order-1")
    assert transport.submitted == 1
    return transport.times[-1] - started, caught.value


async def test_a_task_that_the_provider_does_not_know_is_not_found_after_half_a_minute_of_grace(
    transport: ScriptedTransport,
) -> None:
    seconds, error = await wait_for_unknown_task(transport, message="There is no such task.")
    assert 35 <= seconds <= 37
    assert error.token


async def test_a_404_in_the_first_half_minute_means_not_yet(transport: ScriptedTransport) -> None:
    transport.queries = [*[json_response(404)] * 25, FINISHED]
    async with scripted_client(transport, polling=aw.Polling(1, 1, 1)) as client:
        assert (await client.remove(LINK)).url


async def test_two_404s_with_another_answer_in_between_prove_nothing(transport: ScriptedTransport) -> None:
    transport.queries = [*[PENDING] * 40, json_response(404), PENDING, *[json_response(404)] * 4, FINISHED]
    async with scripted_client(transport, polling=aw.Polling(1, 1, 1)) as client:
        assert (await client.remove(LINK)).url


@pytest.mark.parametrize(
    "text",
    [
        "techsz.aoscdn.com not found",
        "Cannot GET /api/tasks/visual/x",
        "no Route matched with those values",
        "Unknown path",
    ],
)
async def test_a_404_that_names_a_route_or_a_host_says_nothing_about_the_task(
    transport: ScriptedTransport, text: str
) -> None:
    transport.queries = [*[json_response(404, message=text)] * 60, FINISHED]
    async with scripted_client(transport, polling=aw.Polling(1, 1, 1)) as client:
        assert (await client.remove(LINK)).url


async def test_queries_follow_the_polling_schedule(transport: ScriptedTransport) -> None:
    done = transport.queries[0]
    transport.queries = [PENDING, PENDING, PENDING, PENDING, done]
    async with scripted_client(transport, polling=aw.Polling(first=2, factor=2, ceiling=10)) as client:
        await client.remove(LINK)
    gaps = [round(later - sooner, 6) for sooner, later in pairwise(transport.times)]
    assert gaps == [2, 4, 8, 10, 10]


async def test_a_hint_of_the_server_lengthens_intervals_and_shortens_none(transport: ScriptedTransport) -> None:
    accepted, pending = (
        json_response(code=0, data={"task_id": "t"}),
        json_response(code=0, data={"status": "2", "wait_time": "7"}),
    )
    done = json_response(code=0, data={"status": 3, "list": [{"image_result": "https://x.example/a", "status": "3"}]})
    transport.submissions, transport.queries = [accepted], [pending, pending, done]
    provider = aw.PhotoEraser("canary-1", "canary-2", polling=aw.Polling(3, 2, 60))
    async with scripted_client(transport, provider=provider) as client:
        await client.remove(LINK, mask="https://images.example/m.png")
    gaps = [round(later - sooner, 6) for sooner, later in pairwise(transport.times)]
    assert gaps == [3, 7, 12]


async def test_submissions_and_queries_share_one_rate_limit(transport: ScriptedTransport) -> None:
    async with scripted_client(transport, limits=aw.Limits(requests_per_second=2)) as client:
        await asyncio.gather(*(client.remove(f"{LINK}?{n}") for n in range(5)))
    times = sorted(transport.times)
    assert len(times) == 10
    assert all(later - sooner >= 0.5 - 1e-6 for sooner, later in pairwise(times))


async def test_updates_end_after_the_terminal_snapshot(transport: ScriptedTransport) -> None:
    done = transport.queries[0]
    half = json_response(status=200, data={"task_id": "task-1", "state": 2, "progress": 50})
    transport.queries = [PENDING, half, half, done]
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
        seen = [snapshot async for snapshot in handle.updates()]
    assert [snapshot.status for snapshot in seen] == [aw.Status.QUEUED, aw.Status.RUNNING, aw.Status.SUCCEEDED]
    assert [snapshot.progress for snapshot in seen] == [None, 0.5, 1.0]


async def test_updates_raise_the_deadline_error(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    async with scripted_client(transport, deadline=20) as client:
        handle = await client.submit(LINK)
        with pytest.raises(aw.DeadlineExceeded):
            [_ async for _ in handle.updates()]


async def test_a_failed_job_raises_its_reason_with_its_snapshot(transport: ScriptedTransport) -> None:
    transport.queries = [json_response(status=200, data={"task_id": "task-1", "state": -7})]
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
        with pytest.raises(aw.JobFailed, match="invalid") as caught:
            await handle
        assert [snapshot.status for snapshot in [s async for s in handle.updates()]] == [aw.Status.FAILED]
    assert caught.value.snapshot is not None
    assert caught.value.key == handle.key


async def test_a_result_timeout_leaves_the_job_running(transport: ScriptedTransport) -> None:
    done = transport.queries[0]
    transport.queries = [PENDING] * 5 + [done]
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
        with pytest.raises(TimeoutError):
            await handle.result(timeout=1)
        assert (await handle.result()).url


async def test_a_job_in_doubt_resumed_from_its_token_is_never_submitted(transport: ScriptedTransport) -> None:
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.submit(LINK)
        assert caught.value.token is not None
        with pytest.raises(aw.SubmissionInDoubt):
            await client.resume(caught.value.token)
    assert transport.submitted == 1


@pytest.mark.parametrize("token", ["", "aw1.", "aw1.AAAA", "aw1.!!!", "x" * 5000, "aw1." + "W10"])
async def test_a_text_that_is_not_a_token_is_invalid_input(transport: ScriptedTransport, token: str) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match="token"):
            client.resume(token)


async def test_the_token_of_another_provider_is_refused_by_name(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
    async with aw.Client(aw.GptGe("canary-1"), transport=transport) as other:
        with pytest.raises(aw.InvalidInput, match="picwish"):
            other.resume(handle.token)


async def test_a_day_of_waiting_needs_few_queries(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    async with scripted_client(transport, deadline=DAY, polling=aw.Polling(1, 1.2, 60)) as client:
        with pytest.raises(aw.DeadlineExceeded):
            await client.remove(LINK)
    assert DAY / 60 < len(transport.requests) < DAY / 60 + 40


async def test_a_stream_yields_all_outcomes_within_its_limit(transport: ScriptedTransport) -> None:
    alive = peak = 0

    def items() -> Any:
        nonlocal alive, peak
        for number in range(50):
            alive += 1
            peak = max(peak, alive)
            yield f"{LINK}?{number}" if number % 10 else b"not an image"

    done = failed = 0
    async with scripted_client(transport, limits=aw.Limits(in_flight=5)) as client:
        async for outcome in client.stream(items()):
            alive -= 1
            match outcome:
                case aw.Done(media, result):
                    assert media.startswith(LINK)
                    assert result.url
                    done += 1
                case aw.Failed(media, error):
                    assert media == b"not an image"
                    assert isinstance(error, aw.InvalidInput)
                    failed += 1
    assert (done, failed) == (45, 5)
    assert peak <= 6


async def test_a_stream_of_an_async_source_raises_its_error(transport: ScriptedTransport) -> None:
    async def items() -> AsyncIterator[str]:
        yield LINK
        await asyncio.sleep(100)
        raise ConnectionResetError("the queue is closed")

    async with scripted_client(transport) as client:
        outcomes: list[aw.Outcome[str]] = []

        async def run() -> None:
            async for outcome in client.stream(items()):
                outcomes.append(outcome)  # noqa: PERF401 - outcomes before the error are kept

        with pytest.raises(ConnectionResetError, match="queue"):
            await run()
    assert len(outcomes) == 1


async def test_leaving_a_stream_early_stops_pulling(transport: ScriptedTransport) -> None:
    pulled = 0

    def items() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield f"{LINK}?{pulled}"

    async with scripted_client(transport, limits=aw.Limits(in_flight=3)) as client:
        stream = client.stream(items())
        async for _ in stream:
            break
        await stream.aclose()
        before = pulled
        await asyncio.sleep(50)
    assert pulled == before


async def test_a_query_that_fails_in_the_provider_itself_never_ends_a_wait(
    transport: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, failures = aw.PicWish.query, [KeyError("canary"), None]

    def fail_twice(provider: aw.PicWish, record: aw.Record) -> Any:
        if failures:
            return flow_of(failures.pop())
        return query(provider, record)

    monkeypatch.setattr(aw.PicWish, "query", fail_twice)
    async with scripted_client(transport) as client:
        assert (await client.remove(LINK)).url
    assert transport.submitted == 1


async def test_a_submission_whose_answer_the_provider_loses_is_in_doubt(
    transport: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = aw.PicWish.submit

    def lose(provider: aw.PicWish, job: Any, callback_url: str | None = None) -> Any:
        yield next(submit(provider, job, callback_url))

    monkeypatch.setattr(aw.PicWish, "submit", lose)
    async with scripted_client(transport) as client:
        with pytest.raises(aw.SubmissionInDoubt, match="NoneType and not a Snapshot"):
            await client.remove(LINK, key="order-1")
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK, key="order-1")
    assert transport.submitted == 1


@pytest.mark.parametrize("name", ["route", "capabilities_for", "resolve_options"])
async def test_what_a_provider_raises_before_a_submission_is_a_watermark_error(
    transport: ScriptedTransport, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: Any) -> Any:
        raise KeyError("canary")

    monkeypatch.setattr(aw.PicWish, name, fail)
    async with scripted_client(transport) as client:
        with pytest.raises(aw.WatermarkError, match="unexpected KeyError") as caught:
            await client.remove(LINK)
        outcomes = [outcome async for outcome in client.stream([LINK])]
    assert isinstance(caught.value.__cause__, KeyError)
    assert len(outcomes) == 1
    assert isinstance(outcomes[0], aw.Failed)
    assert transport.submitted == 0


def flow_of(error: Exception | None) -> Any:
    """A flow that fails, or that returns nothing."""
    if error is not None:
        raise error
    return
    yield
