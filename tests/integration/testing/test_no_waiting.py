"""no_waiting: waits take no time, and everything else is as it would be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import requests

import aiowatermark as aw
from aiowatermark import clock
from aiowatermark.emulator import Emulator
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response, no_waiting
from tests.support.callback_server import serve_callbacks
from tests.support.images import make_jpeg

PHOTO = make_jpeg()
DAY = 86_400.0
"""Seconds of what is waited for in these tests: none could end in real time."""


@pytest.fixture
def in_no_time(no_waiting: None) -> Iterator[None]:
    """Fail a test that waits; the bound is far from what any machine needs, and from what is waited for."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 100


@pytest.mark.usefixtures("in_no_time")
class TestWithAnEmulator:
    async def test_a_job_is_polled_as_often_as_in_real_time(self, watermark_emulator: Emulator) -> None:
        watermark_emulator.kaze.processing = 1000
        polling = aw.Polling(first=10, factor=1, ceiling=10)
        async with aw.Client(watermark_emulator.provider("kaze", polling=polling), deadline=DAY) as client:
            await client.remove(PHOTO)
        assert [task.queries for task in watermark_emulator.tasks] == [100]

    async def test_jobs_end_in_the_order_of_their_times(self, watermark_emulator: Emulator) -> None:
        seconds = [3000, 1000, 2000, 500, 4000]
        durations = iter(seconds)
        watermark_emulator.picwish.processing = lambda _: next(durations)
        ended: list[int] = []

        def note(duration: int, _: object) -> None:
            ended.append(duration)

        async with aw.Client(watermark_emulator.provider("picwish"), polling=aw.Polling(), deadline=DAY) as client:
            for duration in seconds:
                handle = await client.submit(PHOTO)
                handle.when_done(partial(note, duration))
            await client.drain()
        assert ended == sorted(seconds)

    async def test_a_job_that_never_ends_exceeds_its_deadline(self, watermark_emulator: Emulator) -> None:
        watermark_emulator.kaze.processing = float("inf")
        watermark_emulator.picwish.processing = 500
        async with (
            aw.Client(watermark_emulator.provider("kaze"), polling=aw.Polling()) as client,
            aw.Client(watermark_emulator.provider("picwish"), polling=aw.Polling(), deadline=510) as other,
        ):
            endless, ends = await client.submit(PHOTO), await other.submit(PHOTO)
            with pytest.raises(aw.DeadlineExceeded):
                await endless
            # the time of one job does not pass faster for another
            await ends
        assert watermark_emulator.kaze.charged == watermark_emulator.picwish.charged == 1

    async def test_pauses_before_retries_take_no_time_and_nothing_is_paid_twice(
        self, watermark_emulator: Emulator
    ) -> None:
        watermark_emulator.picwish.limit_rate(250, times=5)
        watermark_emulator.picwish.fail_query(times=3)
        watermark_emulator.picwish.fail_download(1, times=2)
        async with aw.Client(watermark_emulator.provider("picwish"), deadline=DAY) as client:
            result = await client.remove(PHOTO)
            assert await result.read() == PHOTO
        assert watermark_emulator.picwish.charged == 1

    async def test_a_lost_answer_stays_in_doubt(self, watermark_emulator: Emulator) -> None:
        watermark_emulator.kaze.drop_answer()
        async with aw.Client(watermark_emulator.provider("kaze")) as client:
            with pytest.raises(aw.SubmissionInDoubt):
                await client.remove(PHOTO)
        assert watermark_emulator.kaze.charged == 1

    async def test_an_answer_that_does_not_come_is_waited_for_in_no_time(self, watermark_emulator: Emulator) -> None:
        for name in ("kaze", "picwish"):
            getattr(watermark_emulator, name).stall_answer()
            async with aw.Client(watermark_emulator.provider(name), deadline=DAY) as client:
                with pytest.raises(aw.SubmissionInDoubt):
                    await client.remove(PHOTO)
            assert watermark_emulator.charged[name] == 1

    async def test_an_answer_that_comes_late_counts(self, watermark_emulator: Emulator) -> None:
        watermark_emulator.picwish.stall_answer(100)
        async with aw.Client(watermark_emulator.provider("picwish"), deadline=DAY) as client:
            await client.remove(PHOTO)
        assert watermark_emulator.picwish.charged == 1

    async def test_the_rate_limit_is_kept_in_no_time(self, watermark_emulator: Emulator) -> None:
        provider = watermark_emulator.provider("dewatermark", requests_per_second=0.01)
        async with aw.Client(provider, deadline=DAY) as client:
            await asyncio.gather(*(client.remove(PHOTO) for _ in range(10)))
        created = [task.created_at for task in watermark_emulator.tasks]
        assert [round(later - earlier) for earlier, later in pairwise(created)] == [100] * 9

    async def test_an_answer_with_the_result_takes_no_time(self, watermark_emulator: Emulator) -> None:
        watermark_emulator.dewatermark.processing = 100
        async with aw.Client(watermark_emulator.provider("dewatermark"), deadline=DAY) as client:
            assert await (await client.remove(PHOTO)).read() == PHOTO

    async def test_a_callback_comes_when_the_job_is_done_and_wakes_it(self, watermark_emulator: Emulator) -> None:
        watermark_emulator.gptge.processing = 17
        receiver = aw.CallbackReceiver(public_url="http://127.0.0.1")
        async with (
            serve_callbacks(receiver),
            aw.Client(watermark_emulator.provider("gptge"), callbacks=receiver) as client,
        ):
            await client.remove(PHOTO)
        assert [delivery.status for delivery in watermark_emulator.gptge.deliveries] == [200]
        assert [task.queries for task in watermark_emulator.tasks] == [1]

    async def test_the_timeout_of_a_result_passes_and_the_job_goes_on(self, watermark_emulator: Emulator) -> None:
        watermark_emulator.kaze.processing = 1000
        async with aw.Client(watermark_emulator.provider("kaze"), polling=aw.Polling(), deadline=DAY) as client:
            handle = await client.submit(PHOTO)
            with pytest.raises(TimeoutError):
                await handle.result(timeout=900)
            assert not handle.done()
            await handle.result(timeout=900)

    async def test_accesses_to_a_store_let_no_deadline_pass(self, watermark_emulator: Emulator, tmp_path: Path) -> None:
        watermark_emulator.kaze.processing = lambda _: float("inf") if len(watermark_emulator.tasks) == 1 else 100
        store = aw.SQLiteStore(tmp_path / "jobs.db")
        async with aw.Client(
            watermark_emulator.provider("kaze"), store=store, polling=aw.Polling(), deadline=3000
        ) as client:
            endless = await client.submit(PHOTO)
            for _ in range(10):
                await client.remove(PHOTO, deadline=120)
            with pytest.raises(aw.DeadlineExceeded):
                await endless


def test_a_synchronous_program_does_not_wait_either(in_no_time: None, watermark_emulator: Emulator) -> None:
    watermark_emulator.picwish.processing = 25
    answer = requests.post(
        watermark_emulator.base_url + "/api/tasks/visual/external/watermark-remove",
        headers={"X-API-KEY": str(watermark_emulator.keys["picwish"])},
        files=[("file", ("photo.jpg", PHOTO)), ("sync", (None, b"1"))],
        timeout=60,
    )
    assert answer.json()["data"]["state"] == 1


async def test_a_scripted_transport_is_asked_at_the_times_of_the_schedule(in_no_time: None) -> None:
    running, done = (json_response(status=200, data={"task_id": "1", "state": state}) for state in (4, -1))
    transport = ScriptedTransport([json_response(status=200, data={"task_id": "1"})], [running] * 5 + [done])
    async with aw.Client(
        aw.PicWish("key"), transport=transport, polling=aw.Polling(first=100, factor=2, ceiling=1000)
    ) as client:
        with pytest.raises(aw.JobFailed):
            await client.remove("https://example.com/photo.jpg", deadline=DAY)
    assert [round(at - transport.times[0]) for at in transport.times] == [0, 100, 300, 700, 1500, 2500, 3500]


async def test_a_connection_that_is_lost_before_sending_is_retried_in_no_time(in_no_time: None) -> None:
    transport = ScriptedTransport([connection_lost(sent=False)])
    async with aw.Client(aw.PicWish("key"), transport=transport) as client:
        with pytest.raises(aw.ProviderUnavailable):
            await client.submit("https://example.com/photo.jpg")
    assert transport.submitted == 6


async def test_time_stands_still_while_something_is_under_way() -> None:
    with no_waiting():
        with clock.active():
            waiting = asyncio.create_task(clock.pause(DAY))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not waiting.done()
        await waiting


async def test_what_still_waits_at_the_end_goes_on_in_real_time() -> None:
    with no_waiting(), clock.active():
        long, short = (asyncio.create_task(clock.pause(seconds)) for seconds in (DAY, 0.01))
        await asyncio.sleep(0)
    await short
    assert not long.done()
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)


async def test_the_clock_goes_on_from_where_it_was() -> None:
    started = clock.now()
    with no_waiting():
        await clock.pause(DAY)
        inside, seen = clock.now(), clock.wall_time()
    assert started + DAY <= inside <= clock.now() < inside + DAY
    assert seen <= clock.wall_time() < seen + DAY


@pytest.mark.parametrize("raises", [False, True])
def test_time_is_real_again_afterwards_and_nesting_changes_nothing(raises: bool) -> None:
    with suppress(KeyError), no_waiting(), no_waiting():
        assert clock.current_clock().counts
        if raises:
            raise KeyError
    assert not clock.current_clock().counts


def test_what_was_under_way_on_a_loop_that_has_ended_holds_up_nothing() -> None:
    with no_waiting():
        loop = asyncio.new_event_loop()
        unfinished = loop.create_future()
        loop.call_soon(clock.active_until_done, unfinished)
        loop.call_soon(loop.stop)
        loop.run_forever()
        asyncio.run(clock.pause(DAY))
        loop.close()
        asyncio.run(clock.pause(DAY))


def test_loops_that_come_and_go_hold_up_nothing() -> None:
    with no_waiting():
        for _ in range(3):
            asyncio.run(clock.pause(DAY))
        stopped = asyncio.new_event_loop()
        stopped.call_soon(lambda: clock.call_later(1.0, list))
        stopped.call_soon(stopped.stop)
        stopped.run_forever()
        asyncio.run(clock.pause(DAY))
        stopped.close()
        asyncio.run(clock.pause(DAY))
