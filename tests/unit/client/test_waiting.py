"""A wait ends with the job or its deadline, and with nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

import aiowatermark as aw

VIRTUAL_CLOCK = True
LINK = "https://pictures.example/a.png"
Make = Callable[..., Any]
DAY = 86_400.0


def client(wire: Any, **settings: Any) -> aw.Client:
    provider = settings.pop("provider", None) or aw.PicWish("canary-1", requests_per_second=None)
    return aw.Client(provider, transport=wire, **settings)


async def test_failed_looks_never_end_a_wait(wire: Any, broken: Make, answer: Make, pending: Any) -> None:
    done = wire.looks[0]
    from aiowatermark.wire import Response

    wire.looks = [broken(sent=True), answer(500), Response(200, {}, b"<html>"), answer(429), answer(503), pending, done]
    async with client(wire) as running:
        result = await running.remove(LINK)
    assert result.url


async def test_the_deadline_ends_a_wait_and_the_token_resumes_it(wire: Any, pending: Any) -> None:
    done = wire.looks[0]
    wire.looks = [pending]
    async with client(wire, deadline=100) as running:
        with pytest.raises(aw.DeadlineExceeded) as caught:
            await running.remove(LINK)
        assert isinstance(caught.value, TimeoutError)
        wire.looks = [done]
        assert caught.value.token is not None
        result = await running.resume(caught.value.token)
    assert result.url
    assert wire.submitted == 1


async def test_a_deadline_names_what_the_last_look_said(wire: Any, answer: Make) -> None:
    wire.looks = [answer(500, message="down for cleaning")]
    async with client(wire, deadline=100) as running:
        with pytest.raises(aw.DeadlineExceeded, match="down for cleaning"):
            await running.remove(LINK)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, aw.AuthenticationError), (403, aw.AuthenticationError), (404, aw.Rejected)]
)
async def test_a_refusal_ends_a_wait_only_when_it_is_said_twice(
    wire: Any, answer: Make, status: int, kind: type[Exception]
) -> None:
    done = wire.looks[0]
    wire.looks = [answer(status), done]
    async with client(wire) as running:
        assert (await running.remove(LINK)).url
        wire.looks = [answer(status)]
        with pytest.raises(kind) as caught:
            await running.remove(LINK)
    assert getattr(caught.value, "token", None)


async def test_the_looks_follow_the_schedule(wire: Any, pending: Any) -> None:
    done = wire.looks[0]
    wire.looks = [pending, pending, pending, pending, done]
    async with client(wire, polling=aw.Polling(first=2, factor=2, ceiling=10)) as running:
        await running.remove(LINK)
    gaps = [round(later - sooner, 6) for sooner, later in pairwise(wire.times)]
    assert gaps == [2, 4, 8, 10, 10]


async def test_a_servers_hint_replaces_one_step(wire: Any, answer: Make) -> None:
    ticket, pending = answer(code=0, data={"task_id": "t"}), answer(code=0, data={"status": "2", "wait_time": "7"})
    done = answer(code=0, data={"status": 3, "list": [{"image_result": "https://x.example/a", "status": "3"}]})
    wire.submits, wire.looks = [ticket], [pending, pending, done]
    provider = aw.PhotoEraser("canary-1", "canary-2", polling=aw.Polling(3, 2, 60))
    async with client(wire, provider=provider) as running:
        await running.remove(LINK, mask="https://pictures.example/m.png")
    gaps = [round(later - sooner, 6) for sooner, later in pairwise(wire.times)]
    assert gaps == [3, 7, 7]


async def test_submits_and_looks_share_one_rate(wire: Any) -> None:
    async with client(wire, limits=aw.Limits(requests_per_second=2)) as running:
        await asyncio.gather(*(running.remove(f"{LINK}?{n}") for n in range(5)))
    times = sorted(wire.times)
    assert len(times) == 10
    assert all(later - sooner >= 0.5 - 1e-6 for sooner, later in pairwise(times))


async def test_updates_end_after_the_terminal_snapshot(wire: Any, answer: Make, pending: Any) -> None:
    done = wire.looks[0]
    half = answer(status=200, data={"task_id": "task-1", "state": 2, "progress": 50})
    wire.looks = [pending, half, half, done]
    async with client(wire) as running:
        handle = await running.submit(LINK)
        seen = [snapshot async for snapshot in handle.updates()]
    assert [snapshot.status for snapshot in seen] == [aw.Status.QUEUED, aw.Status.RUNNING, aw.Status.SUCCEEDED]
    assert [snapshot.progress for snapshot in seen] == [None, 0.5, 1.0]


async def test_updates_of_a_job_that_ends_late_raise_the_deadline(wire: Any, pending: Any) -> None:
    wire.looks = [pending]
    async with client(wire, deadline=20) as running:
        handle = await running.submit(LINK)
        with pytest.raises(aw.DeadlineExceeded):
            [_ async for _ in handle.updates()]


async def test_a_failed_job_says_why_and_carries_its_snapshot(wire: Any, answer: Make) -> None:
    wire.looks = [answer(status=200, data={"task_id": "task-1", "state": -7})]
    async with client(wire) as running:
        handle = await running.submit(LINK)
        with pytest.raises(aw.JobFailed, match="invalid") as caught:
            await handle
        assert [snapshot.status for snapshot in [s async for s in handle.updates()]] == [aw.Status.FAILED]
    assert caught.value.snapshot is not None
    assert caught.value.key == handle.key


async def test_a_result_with_a_timeout_leaves_the_job_alone(wire: Any, pending: Any) -> None:
    done = wire.looks[0]
    wire.looks = [pending] * 5 + [done]
    async with client(wire) as running:
        handle = await running.submit(LINK)
        with pytest.raises(TimeoutError):
            await handle.result(timeout=1)
        assert (await handle.result()).url


async def test_a_job_in_doubt_resumed_from_its_token_is_never_submitted(wire: Any, broken: Make) -> None:
    wire.submits = [broken(sent=True)]
    async with client(wire) as running:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await running.submit(LINK)
        assert caught.value.token is not None
        with pytest.raises(aw.SubmissionInDoubt):
            await running.resume(caught.value.token)
    assert wire.submitted == 1


@pytest.mark.parametrize("token", ["", "aw1.", "aw1.AAAA", "aw1.!!!", "x" * 5000, "aw1." + "W10"])
async def test_a_text_that_is_no_token_is_refused(wire: Any, token: str) -> None:
    async with client(wire) as running:
        with pytest.raises(aw.InvalidInput, match="token"):
            running.resume(token)


async def test_a_token_of_another_provider_names_it(wire: Any) -> None:
    async with client(wire) as running:
        handle = await running.submit(LINK)
    async with aw.Client(aw.GptGe("canary-1"), transport=wire) as other:
        with pytest.raises(aw.InvalidInput, match="picwish"):
            other.resume(handle.token)


async def test_a_day_of_waiting_costs_few_looks(wire: Any, pending: Any) -> None:
    wire.looks = [pending]
    async with client(wire, deadline=DAY, polling=aw.Polling(1, 1.2, 60)) as running:
        with pytest.raises(aw.DeadlineExceeded):
            await running.remove(LINK)
    assert DAY / 60 < len(wire.requests) < DAY / 60 + 40


async def test_a_stream_gives_all_outcomes_and_never_holds_more_than_allowed(wire: Any, answer: Make) -> None:
    alive = peak = 0

    def items() -> Any:
        nonlocal alive, peak
        for number in range(50):
            alive += 1
            peak = max(peak, alive)
            yield f"{LINK}?{number}" if number % 10 else b"no picture"

    done = failed = 0
    async with client(wire, limits=aw.Limits(in_flight=5)) as running:
        async for outcome in running.stream(items()):
            alive -= 1
            match outcome:
                case aw.Done(media, result):
                    assert media.startswith(LINK)
                    assert result.url
                    done += 1
                case aw.Failed(media, error):
                    assert media == b"no picture"
                    assert isinstance(error, aw.InvalidInput)
                    failed += 1
    assert (done, failed) == (45, 5)
    assert peak <= 6


async def test_a_stream_takes_an_async_source_and_raises_what_that_raises(wire: Any) -> None:
    async def items() -> AsyncIterator[str]:
        yield LINK
        await asyncio.sleep(100)
        raise ConnectionResetError("the queue is gone")

    async with client(wire) as running:
        outcomes: list[aw.Outcome] = []

        async def run() -> None:
            async for outcome in running.stream(items()):
                outcomes.append(outcome)  # noqa: PERF401 - what came before the end is wanted

        with pytest.raises(ConnectionResetError, match="queue"):
            await run()
    assert len(outcomes) == 1


async def test_leaving_a_stream_early_stops_pulling(wire: Any) -> None:
    pulled = 0

    def items() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield f"{LINK}?{pulled}"

    async with client(wire, limits=aw.Limits(in_flight=3)) as running:
        stream = running.stream(items())
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        before = pulled
        await asyncio.sleep(50)
    assert pulled == before
