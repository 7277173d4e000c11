"""Things that happen concurrently: two clients on one store, callbacks during a doubt, closing during a submission."""

from __future__ import annotations

import asyncio

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.jobs import Record
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.picwish import LINK, PENDING, delivery, scripted_client
from tests.support.videos import make_mp4

VIRTUAL_CLOCK = True
VIDEO = make_mp4(76)


async def test_a_rejected_resubmission_leaves_the_first_submission_in_doubt(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.submissions = [connection_lost(sent=True), json_response(402, message="no credits")]
    async with scripted_client(transport, store=store, resubmit=True) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.remove(LINK, key="mine")
        assert await store.get("mine") is not None
    assert caught.value.token


async def test_closing_submits_nothing_new(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(submissions=1)) as client:
        jobs = [asyncio.create_task(client.submit(f"{LINK}?{n}")) for n in range(4)]
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_later(1, transport.hold.set)
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    assert transport.submitted == 1
    assert sum(isinstance(outcome, aw.WatermarkError) for outcome in outcomes) == 3


async def test_a_long_retry_after_does_not_outlast_the_deadline(transport: ScriptedTransport) -> None:
    transport.queries = [json_response(429, {"retry-after": "3600"})]
    async with scripted_client(transport, deadline=20) as client:
        began = asyncio.get_running_loop().time()
        with pytest.raises(aw.DeadlineExceeded):
            await client.remove(LINK)
        assert asyncio.get_running_loop().time() - began < 60


async def test_callbacks_of_rejected_jobs_are_no_longer_expected(transport: ScriptedTransport) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    transport.submissions = [json_response(400, message="no")]
    async with scripted_client(transport, callbacks=receiver) as client:
        for number in range(20):
            with pytest.raises(aw.Rejected):
                await client.submit(f"{LINK}?{number}")
        assert registry_of(receiver)._expected == {}


async def test_a_callback_that_arrives_while_a_doubt_is_recorded_settles_it(transport: ScriptedTransport) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")

    class CallbackDuringPut(aw.MemoryStore):
        async def put(self, record: Record) -> Record | None:
            for deliver in list(registry_of(receiver)._expected.values()):
                data = {"task_id": "task-1", "state": 1, "file": "https://x.example/a"}
                deliver(delivery(status=200, data=data))
            return await super().put(record)

    store = CallbackDuringPut()
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport, store=store, callbacks=receiver) as client:
        assert (await client.remove(LINK)).url
    assert transport.submitted == 1


async def test_recover_leaves_running_jobs_out(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as client:
        handle = await client.submit(LINK, key="mine")
        recovery = await client.recover()
        assert recovery.resumed == []
        assert client._open_engine.jobs["mine"].handle is handle


async def test_cancelling_one_of_two_waiters_leaves_the_submission(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(submissions=1)) as client:
        ahead = asyncio.create_task(client.submit(LINK))
        await asyncio.sleep(1)
        both = [asyncio.create_task(client.submit(f"{LINK}?2", key="mine")) for _ in range(2)]
        await asyncio.sleep(1)
        both[0].cancel()
        await asyncio.sleep(1)
        transport.hold.set()
        assert (await both[1]).key == "mine"
        await ahead
    assert both[0].cancelled()


async def test_a_submit_cancelled_while_it_waits_after_a_429_is_not_sent_again(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.submissions = [
        json_response(429, {"retry-after": "60"}),
        json_response(status=200, data={"task_id": "t"}),
    ]
    async with scripted_client(transport, store=store) as client:
        task = asyncio.create_task(client.submit(LINK, key="mine"))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(100)
        assert await store.get("mine") is None
    assert transport.submitted == 1


async def test_a_store_that_fails_after_the_payment_does_not_lose_the_job(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(aw.MemoryStore):
        async def put(self, record: Record) -> Record | None:
            raise OSError("the disk is full")

    store = Broken()
    async with scripted_client(transport, store=store) as client:
        handle = await client.submit(LINK, key="mine")
        assert (await handle).url
        assert "not written to the store" in caplog.text
        again = client.resume(handle.token)
        assert (await again).url
    assert transport.submitted == 1


class SlowUpdates(aw.MemoryStore):
    """A store whose updates take two seconds."""

    async def put(self, record: Record) -> Record | None:
        await asyncio.sleep(2)
        return await super().put(record)


async def test_an_answer_that_arrives_while_the_client_closes_is_recorded(transport: ScriptedTransport) -> None:
    store = SlowUpdates()
    async with scripted_client(transport, store=store, drain=0.0) as client:
        submitting = asyncio.create_task(client.submit(LINK, key="mine"))
        await asyncio.sleep(1)
        assert transport.submitted == 1
    assert isinstance((await asyncio.gather(submitting, return_exceptions=True))[0], aw.WatermarkError)
    record = await store.get("mine")
    assert record is not None
    assert record.snapshot.task_id == "task-1"


async def test_closing_logs_the_token_of_a_job_that_an_earlier_client_submitted(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    transport.queries = [PENDING]
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as first:
        await first.submit(LINK, key="mine")
    caplog.clear()
    async with scripted_client(transport, store=store) as second:
        handle = await second.submit(LINK, key="mine")
    assert handle.token in caplog.text
    assert transport.submitted == 1


class SlowStore(aw.MemoryStore):
    """A store whose calls take a second each."""

    async def open(self, record: Record) -> Record | None:
        known = await super().open(record)
        await asyncio.sleep(1)
        return known

    async def get(self, key: str) -> Record | None:
        await asyncio.sleep(1)
        return await super().get(key)


async def test_cancelling_a_second_submission_keeps_the_record_of_the_first(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    store = SlowStore()
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.DeadlineExceeded):
            await client.remove(LINK, key="mine", deadline=5)
        again = asyncio.create_task(client.submit(LINK, key="mine"))
        await asyncio.sleep(0.5)
        again.cancel()
        with pytest.raises(asyncio.CancelledError):
            await again
        await asyncio.sleep(5)
        assert (await client.submit(LINK, key="mine")).task_id == "task-1"
    assert transport.submitted == 1


async def test_closing_deletes_the_record_of_a_job_that_was_not_sent(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    store = SlowStore()
    async with scripted_client(transport, store=store) as client:
        paid = asyncio.create_task(client.submit(LINK, key="paid"))
        await asyncio.sleep(1.5)
        unsent = asyncio.create_task(client.submit(LINK, key="unsent"))
        await asyncio.sleep(0.5)
        asyncio.get_running_loop().call_later(0.5, transport.hold.set)
    assert not isinstance((await asyncio.gather(paid, return_exceptions=True))[0], BaseException)
    with pytest.raises(aw.WatermarkError, match="cancelled before anything was sent"):
        await unsent
    assert await store.get("unsent") is None
    assert transport.submitted == 1


class FailingUpdates(aw.MemoryStore):
    """A store that cannot write updates until it is repaired."""

    broken = True

    async def put(self, record: Record) -> Record | None:
        if self.broken:
            raise aw.StoreError("the database is locked")
        return await super().put(record)


async def test_updates_that_the_store_could_not_take_are_written_once_it_works(transport: ScriptedTransport) -> None:
    store = FailingUpdates()
    async with scripted_client(transport, store=store) as client:
        await asyncio.gather(*(client.remove(f"{LINK}?{number}", key=f"order-{number}") for number in range(3)))
        record = await store.get("order-1")
        assert record is not None
        assert record.answer_pending
        store.broken = False
        await asyncio.sleep(60)
        for number in range(3):
            record = await store.get(f"order-{number}")
            assert record is not None
            assert record.snapshot.status is aw.Status.SUCCEEDED
    assert transport.submitted == 3


@pytest.mark.parametrize("repaired", [True, False])
async def test_closing_writes_updates_that_the_store_could_not_take_and_logs_the_tokens_of_the_rest(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture, repaired: bool
) -> None:
    transport.queries = [PENDING]
    store = FailingUpdates()
    async with scripted_client(transport, store=store, drain=0.0) as client:
        await client.submit(LINK, key="order-1")
        store.broken = not repaired
    record = await store.get("order-1")
    assert record is not None
    assert record.answer_pending is not repaired
    assert ("never written to the store" in caplog.text) is not repaired
