"""What happens at once: two clients on one store, doubts beside callbacks, closing beside submitting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.media.base import Media
from aiowatermark.wire import Request, Response

VIRTUAL_CLOCK = True
LINK = "https://pictures.example/a.png"
Make = Callable[..., Any]
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(64)


def client(wire: Any, **settings: Any) -> aw.Client:
    provider = settings.pop("provider", None) or aw.PicWish("canary-1", requests_per_second=None)
    return aw.Client(provider, transport=wire, **settings)


def said(**payload: Any) -> Response:
    return Response(200, {}, json.dumps(payload).encode())


class Videos:
    """Tickets, uploads and paid starts, over one script; `slow` uploads wait for their gate."""

    def __init__(self, wire: Any) -> None:
        self.tickets = self.started = 0
        self.gates: list[asyncio.Event] = []
        wire.perform = self.perform

    async def perform(self, request: Request, *, timeout: float, progress: Any = None) -> Any:  # noqa: ASYNC109
        if request.target.endswith("/upload"):
            self.tickets += 1
            return said(task_id=f"v{self.tickets}", upload_signed_url=f"https://x.example/{self.tickets}")
        if isinstance(request.body, Media):
            return await self._upload(progress)
        if request.method == "POST":
            self.started += 1
            return said(status="CREATED")
        return said(status="COMPLETED", download_signed_url="https://x.example/d")

    async def _upload(self, progress: Any) -> Any:
        gate = asyncio.Event()
        self.gates.append(gate)
        for sent in range(20):
            progress(sent, 20)
        await gate.wait()
        return said()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_video_of_one_key_in_two_clients_is_paid_once(wire: Any, order: tuple[int, int]) -> None:
    store, videos = aw.MemoryStore(), Videos(wire)
    provider = aw.Dewatermark("canary-1")
    async with (
        # a film is looked at in a thread, and the clock jumps while that works: no deadline may be near
        client(wire, provider=provider, store=store, deadline=1e12) as first,
        client(wire, provider=provider, store=store, deadline=1e12) as second,
    ):
        jobs = [asyncio.create_task(running.remove(VIDEO, key="film")) for running in (first, second)]
        while len(videos.gates) < 2:  # noqa: ASYNC110 - the clock jumps
            await asyncio.sleep(0.1)
        for number in order:
            videos.gates[number].set()
            await asyncio.sleep(1)
        results = await asyncio.gather(*jobs)
    assert videos.started == 1
    assert len({result.snapshot.task_id for result in results}) == 1
    assert await store.get("film") is not None


async def test_a_refused_second_try_leaves_the_first_in_doubt(wire: Any, answer: Make, broken: Make) -> None:
    store = aw.MemoryStore()
    wire.submits = [broken(sent=True), answer(402, message="no credits")]
    async with client(wire, store=store, resubmit=True) as running:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await running.remove(LINK, key="mine")
        assert await store.get("mine") is not None
    assert caught.value.token


async def test_closing_pays_nothing_new(wire: Any) -> None:
    wire.gate = asyncio.Event()
    async with client(wire, limits=aw.Limits(submissions=1)) as running:
        jobs = [asyncio.create_task(running.submit(f"{LINK}?{n}")) for n in range(4)]
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_later(1, wire.gate.set)
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    assert wire.submitted == 1
    assert sum(isinstance(outcome, aw.WatermarkError) for outcome in outcomes) == 3


async def test_a_long_hold_does_not_outlast_a_deadline(wire: Any, answer: Make) -> None:
    wire.looks = [answer(429, {"retry-after": "3600"})]
    async with client(wire, deadline=20) as running:
        began = asyncio.get_running_loop().time()
        with pytest.raises(aw.DeadlineExceeded):
            await running.remove(LINK)
        assert asyncio.get_running_loop().time() - began < 60


async def test_refused_jobs_are_not_listened_for_any_more(wire: Any, answer: Make) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    wire.submits = [answer(400, message="no")]
    async with client(wire, callbacks=receiver) as running:
        for number in range(20):
            with pytest.raises(aw.Rejected):
                await running.submit(f"{LINK}?{number}")
        assert receiver._expected == {}


async def test_a_callback_that_comes_while_a_doubt_is_written_down_settles_it(wire: Any, broken: Make) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")

    class CalledMeanwhile(aw.MemoryStore):
        async def put(self, record: Record) -> Record:
            for ring in list(receiver._expected.values()):
                data = {"task_id": "task-1", "state": 1, "file": "https://x.example/a"}
                ring(aw.Delivery(json.dumps({"status": 200, "data": data}).encode()))
            return await super().put(record)

    store = CalledMeanwhile()
    wire.submits = [broken(sent=True)]
    async with client(wire, store=store, callbacks=receiver) as running:
        assert (await running.remove(LINK)).url
    assert wire.submitted == 1


async def test_recovering_beside_a_submission_joins_its_handle(wire: Any, pending: Any) -> None:
    store = aw.MemoryStore()
    wire.looks = [pending]
    async with client(wire, store=store) as running:
        handle = await running.submit(LINK, key="mine")
        recovery = await running.recover()
        assert recovery.resumed == []
        assert running._open_engine.jobs == {"mine": handle}


async def test_one_of_two_waiters_going_away_leaves_the_submission(wire: Any) -> None:
    wire.gate = asyncio.Event()
    async with client(wire, limits=aw.Limits(submissions=1)) as running:
        ahead = asyncio.create_task(running.submit(LINK))
        await asyncio.sleep(1)
        both = [asyncio.create_task(running.submit(f"{LINK}?2", key="mine")) for _ in range(2)]
        await asyncio.sleep(1)
        both[0].cancel()
        await asyncio.sleep(1)
        wire.gate.set()
        assert (await both[1]).key == "mine"
        await ahead
    assert both[0].cancelled()


async def test_a_submit_cancelled_while_it_waits_out_a_429_is_called_off(wire: Any, answer: Make) -> None:
    store = aw.MemoryStore()
    wire.submits = [answer(429, {"retry-after": "60"}), answer(status=200, data={"task_id": "t"})]
    async with client(wire, store=store) as running:
        task = asyncio.create_task(running.submit(LINK, key="mine"))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(100)
        assert await store.get("mine") is None
    assert wire.submitted == 1


async def test_a_store_that_breaks_after_the_payment_costs_no_job(wire: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(aw.MemoryStore):
        async def put(self, record: Record) -> Record:
            raise OSError("the disk is gone")

    store = Broken()
    async with client(wire, store=store) as running:
        handle = await running.submit(LINK, key="mine")
        assert (await handle).url
        assert "goes on without its store" in caplog.text
        again = running.resume(handle.token)
        assert (await again).url
    assert wire.submitted == 1


class Slow(aw.MemoryStore):
    """A memory whose news take two seconds to be remembered."""

    async def put(self, record: Record) -> Record:
        await asyncio.sleep(2)
        return await super().put(record)


async def test_an_answer_that_came_as_the_client_was_closed_is_remembered(wire: Any) -> None:
    store = Slow()
    async with client(wire, store=store, drain=0.0) as opened:
        asking = asyncio.create_task(opened.submit(LINK, key="mine"))
        await asyncio.sleep(1)
        assert wire.submitted == 1
    assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], aw.WatermarkError)
    record = await store.get("mine")
    assert record is not None
    assert record.snapshot.task_id == "task-1"


async def test_closing_says_the_token_of_a_job_that_an_earlier_client_submitted(
    wire: Any, pending: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wire.looks = [pending]
    store = aw.MemoryStore()
    async with client(wire, store=store) as first:
        await first.submit(LINK, key="mine")
    caplog.clear()
    async with client(wire, store=store) as second:
        handle = await second.submit(LINK, key="mine")
    assert handle.token in caplog.text
    assert wire.submitted == 1


class Far(aw.MemoryStore):
    """A memory that takes its time for everything."""

    async def open(self, record: Record) -> Record | None:
        known = await super().open(record)
        await asyncio.sleep(1)
        return known

    async def get(self, key: str) -> Record | None:
        await asyncio.sleep(1)
        return await super().get(key)


async def test_calling_off_a_second_submission_forgets_nothing_of_the_first(wire: Any, pending: Any) -> None:
    wire.looks = [pending]
    store = Far()
    async with client(wire, store=store) as opened:
        with pytest.raises(aw.DeadlineExceeded):
            await opened.remove(LINK, key="mine", deadline=5)
        again = asyncio.create_task(opened.submit(LINK, key="mine"))
        await asyncio.sleep(0.5)
        again.cancel()
        with pytest.raises(asyncio.CancelledError):
            await again
        await asyncio.sleep(5)
        assert (await opened.submit(LINK, key="mine")).task_id == "task-1"
    assert wire.submitted == 1


async def test_closing_lets_a_job_that_was_never_sent_be_forgotten(wire: Any) -> None:
    wire.gate = asyncio.Event()
    store = Far()
    async with client(wire, store=store) as opened:
        paid = asyncio.create_task(opened.submit(LINK, key="paid"))
        await asyncio.sleep(1.5)
        unsent = asyncio.create_task(opened.submit(LINK, key="unsent"))
        await asyncio.sleep(0.5)
        asyncio.get_running_loop().call_later(0.5, wire.gate.set)
    assert not isinstance((await asyncio.gather(paid, return_exceptions=True))[0], BaseException)
    with pytest.raises(aw.WatermarkError, match="called off before anything was sent"):
        await unsent
    assert await store.get("unsent") is None
    assert wire.submitted == 1
