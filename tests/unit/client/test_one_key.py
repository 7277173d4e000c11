"""One key, whoever asks for it: charged once, and each caller gets the result or one true error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.media.base import Media, ProgressCallback
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from aiowatermark.wire import Request, Response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, scripted_client
from tests.support.stores import get_record

VIRTUAL_CLOCK = True
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(64)


class Videos(ScriptedTransport):
    """Dewatermark's videos: a task per upload URL, and each is done only if it was started."""

    def __init__(self, upload_seconds: float = 10.0) -> None:
        super().__init__()
        self.upload_seconds = upload_seconds
        self.uploads = 0
        self.started: list[str] = []

    async def perform(
        self,
        request: Request,
        *,
        timeout: float,  # noqa: ASYNC109
        progress: ProgressCallback | None = None,
        on_sent: Callable[[], object] | None = None,
    ) -> Response:
        if on_sent is not None:
            on_sent()
        if request.target.endswith("/upload"):
            self.uploads += 1
            return json_response(task_id=f"v{self.uploads}", upload_signed_url=f"https://x.example/{self.uploads}")
        if isinstance(request.body, Media):
            await asyncio.sleep(self.upload_seconds)
            return json_response()
        if request.method == "POST":
            self.started.append(str(request.body.fields["task_id"]))  # type: ignore[union-attr]
            return json_response(status="CREATED")
        task_id = request.target.rsplit("/", 1)[1]
        if task_id not in self.started:
            return json_response(status="CREATED")
        return json_response(status="COMPLETED", download_signed_url=f"https://x.example/{task_id}")


def video_client(transport: Videos, store: aw.JobStore, **settings: Any) -> aw.Client:
    # reading a video takes a thread, and the virtual clock jumps meanwhile: the deadline must be far
    return scripted_client(transport, provider=aw.Dewatermark("canary-1"), store=store, deadline=1e5, **settings)


async def remove_with_all(clients: list[aw.Client]) -> list[aw.Result]:
    async with AsyncExitStack() as stack:
        entered = [await stack.enter_async_context(client) for client in clients]
        return await asyncio.gather(*(client.remove(VIDEO, key="order-1") for client in entered))


@pytest.mark.parametrize("workers", [2, 10])
async def test_a_video_that_many_workers_ask_for_under_one_key_is_uploaded_and_started_once(workers: int) -> None:
    store, transport = aw.MemoryStore(), Videos()
    clients = [video_client(transport, store) for _ in range(workers)]
    results = await remove_with_all(clients)
    assert len(transport.started) == transport.uploads == 1
    assert {result.snapshot.task_id for result in results} == {"v1"}


async def test_resuming_the_token_of_a_video_during_its_upload_does_not_disturb_the_upload() -> None:
    store, transport = aw.MemoryStore(), Videos()
    async with video_client(transport, store) as uploading, video_client(transport, store) as resuming:
        removing = asyncio.create_task(uploading.remove(VIDEO, key="order-1"))
        while transport.uploads == 0:  # noqa: ASYNC110 - the file is read in a thread
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        record = await store.get("order-1")
        assert record is not None
        assert record.unsent
        resumed = asyncio.create_task(resuming.resume(record.token).result())
        result = await removing
        assert (await resumed).url == result.url
    assert transport.started == ["v1"]


async def test_the_upload_of_a_dead_owner_is_taken_over_by_one_worker_only() -> None:
    store, transport = aw.MemoryStore(), Videos()
    async with video_client(transport, store) as client:
        fingerprint = (await client._preparer.prepare(VIDEO, None, None, {})).fingerprint
    left_behind = Record(
        "order-1",
        "dewatermark",
        Snapshot("v0", Status.UPLOADING),
        fingerprint,
        video=True,
        account=aw.Dewatermark("canary-1").account,
        owner="a client that crashed",
    )
    assert await store.open(left_behind) is None
    results = await remove_with_all([video_client(transport, store) for _ in range(5)])
    assert len(transport.started) == transport.uploads == 1
    assert {result.snapshot.task_id for result in results} == set(transport.started)
    (note,) = (await get_record(store, "order-1")).history
    assert note == "taken over from the client a client that crashed: nothing was paid"


@pytest.mark.parametrize("first_answer", [json_response(400, message="no"), connection_lost(sent=False)])
async def test_when_the_first_of_two_is_rejected_the_second_submits_immediately(
    transport: ScriptedTransport, first_answer: Any
) -> None:
    store = aw.MemoryStore()
    transport.hold = asyncio.Event()
    transport.submissions = [first_answer] * (7 if isinstance(first_answer, aw.ProviderUnavailable) else 1) + [ACCEPTED]
    async with scripted_client(transport, store=store) as first, scripted_client(transport, store=store) as second:
        one = asyncio.create_task(first.submit(LINK, key="order-1", deadline=20))
        await asyncio.sleep(1)
        two = asyncio.create_task(second.remove(LINK, key="order-1"))
        await asyncio.sleep(5)
        transport.hold.set()
        with pytest.raises(aw.WatermarkError):
            await one
        started = asyncio.get_running_loop().time()
        assert (await two).url
    assert asyncio.get_running_loop().time() - started < 10


async def test_a_submission_that_waits_for_anothers_answer_holds_no_slot(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.hold = asyncio.Event()
    limits = aw.Limits(submissions=1)
    async with (
        scripted_client(transport, store=store) as first,
        scripted_client(transport, store=store, limits=limits) as second,
    ):
        one = asyncio.create_task(first.submit(LINK, key="order-1"))
        await asyncio.sleep(1)
        two = asyncio.create_task(second.submit(LINK, key="order-1"))
        await asyncio.sleep(1)
        other = asyncio.create_task(second.submit(f"{LINK}?other", key="order-2"))
        await asyncio.sleep(5)
        assert transport.submitted == 2
        transport.hold.set()
        await asyncio.gather(one, two, other)
    assert transport.submitted == 2


class EqualCopies(aw.MemoryStore):
    """A store that returns an equal copy of what it stored, as one that serializes does."""

    async def put(self, record: Record) -> Record | None:
        stored = await super().put(record)
        return None if stored is None else evolve(stored)


class HangingPut(aw.MemoryStore):
    """A store whose put never returns."""

    async def put(self, record: Record) -> Record | None:
        await asyncio.Event().wait()
        return record


async def test_a_store_that_returns_equal_copies_submits_each_job_once() -> None:
    store, transport = EqualCopies(), Videos()
    async with video_client(transport, store) as client:
        result = await client.remove(VIDEO, key="order-1")
    assert result.snapshot.task_id == "v1"
    assert transport.started == ["v1"]


async def test_a_store_that_hangs_before_the_paid_request_ends_at_the_deadline_and_nothing_is_sent() -> None:
    store, transport = HangingPut(), Videos(upload_seconds=0.0)
    provider = aw.Dewatermark("canary-1")
    async with scripted_client(transport, provider=provider, store=store, drain=0.0) as client:
        removing = asyncio.create_task(client.remove(VIDEO, key="order-1", deadline=1e4))
        with pytest.raises(aw.DeadlineExceeded):
            await removing
    assert transport.started == []


class Hangs(aw.MemoryStore):
    """A store of which one call never returns."""

    def __init__(self, call: str, after: int = 0) -> None:
        super().__init__()
        self.call, self.after = call, after

    async def _hang(self, call: str) -> None:
        if call == self.call:
            self.after -= 1
            if self.after < 0:
                await asyncio.Event().wait()

    async def open(self, record: Record) -> Record | None:
        await self._hang("open")
        return await super().open(record)

    async def put(self, record: Record) -> Record | None:
        await self._hang("put")
        return await super().put(record)

    async def get(self, key: str) -> Record | None:
        await self._hang("get")
        return await super().get(key)


async def test_a_store_whose_open_hangs_ends_a_job_at_its_deadline_and_nothing_is_sent(
    transport: ScriptedTransport,
) -> None:
    async with scripted_client(transport, store=Hangs("open"), deadline=100.0) as client:
        with pytest.raises(aw.DeadlineExceeded):
            await client.submit(LINK, key="order-1")
    assert transport.submitted == 0


async def test_a_store_whose_put_hangs_after_acceptance_neither_stops_nor_repeats_a_job(
    transport: ScriptedTransport,
) -> None:
    async with scripted_client(transport, store=Hangs("put"), deadline=600.0) as client:
        assert (await client.remove(LINK, key="order-1")).url
    assert transport.submitted == 1


async def test_a_store_whose_get_hangs_ends_a_resumed_job_at_its_deadline(transport: ScriptedTransport) -> None:
    token = Record("order-1", "picwish", Snapshot("task-1", Status.QUEUED)).token
    async with scripted_client(transport, store=Hangs("get")) as client:
        with pytest.raises(aw.DeadlineExceeded) as caught:
            await client.resume(token, deadline=100.0)
    assert caught.value.token


async def test_a_used_key_at_another_provider_or_account_is_invalid_input(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        await client.remove(LINK, key="order-1")
    others = [aw.GptGe("canary-1"), aw.PicWish("canary-2"), aw.PicWish("canary-1", account="shop")]
    for provider in others:
        async with scripted_client(transport, provider=provider, store=store) as client:
            with pytest.raises(aw.InvalidInput, match="order-1"):
                await client.submit(LINK, key="order-1")
    assert transport.submitted == 1


async def test_a_named_account_keeps_its_jobs_when_its_api_key_changes(transport: ScriptedTransport) -> None:
    store, queries = aw.MemoryStore(), transport.queries
    transport.queries = [PENDING]
    async with scripted_client(transport, provider=aw.PicWish("canary-1", account="shop"), store=store) as client:
        await client.submit(LINK, key="order-1")
    transport.queries = queries
    async with scripted_client(transport, provider=aw.PicWish("canary-2", account="shop"), store=store) as client:
        recovery = await client.recover()
        assert [handle.key for handle in recovery.resumed] == ["order-1"]
        assert (await client.remove(LINK, key="order-1")).url
    async with scripted_client(transport, provider=aw.PicWish("canary-2", account="other"), store=store) as client:
        assert (await client.recover()).elsewhere == 0  # the job is finished
    assert transport.submitted == 1


async def test_recover_counts_the_records_of_other_accounts(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as client:
        for number in range(3):
            await client.submit(f"{LINK}?{number}", key=f"order-{number}")
    async with scripted_client(transport, provider=aw.PicWish("canary-2"), store=store) as client:
        recovery = await client.recover()
    assert (recovery.elsewhere, recovery.resumed) == (3, [])


@pytest.mark.parametrize("account", ["", " ", "a\nb", "x" * 201, 7])
def test_an_account_that_is_not_a_printable_text_is_invalid_input(account: Any) -> None:
    with pytest.raises(aw.InvalidInput, match="account"):
        aw.PicWish("canary-1", account=account)


class FailingDeletions(aw.MemoryStore):
    """A store that cannot delete until it is repaired."""

    broken = True

    async def forget(self, record: Record) -> bool:
        if self.broken:
            raise aw.StoreError("the disk is full")
        return await super().forget(record)


async def test_a_rejection_whose_record_cannot_be_deleted_is_raised_and_the_key_is_free_once_the_store_works(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    store = FailingDeletions()
    transport.submissions = [json_response(400, message="no"), ACCEPTED]
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.Rejected):
            await client.submit(LINK, key="order-1")
        submitting = asyncio.create_task(client.remove(LINK, key="order-1"))
        await asyncio.sleep(5)
        assert transport.submitted == 1
        store.broken = False
        assert (await submitting).url
    assert transport.submitted == 2
    assert "could not be deleted" in caplog.text


async def test_a_key_whose_record_cannot_be_deleted_raises_a_store_error_at_the_deadline(
    transport: ScriptedTransport,
) -> None:
    store = FailingDeletions()
    transport.submissions = [json_response(400, message="no"), ACCEPTED]
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.Rejected):
            await client.submit(LINK, key="order-1")
        with pytest.raises(aw.StoreError, match="was not paid"):
            await client.submit(LINK, key="order-1", deadline=100)
    assert transport.submitted == 1


class FailsAfterPayment(aw.MemoryStore):
    """A store whose updates fail once the paid request was sent."""

    async def put(self, record: Record) -> Record | None:
        raise aw.StoreError("the disk is full")


async def test_a_callback_settles_a_lost_answer_even_if_the_store_fails() -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")

    def lose_the_answer_after_a_callback() -> BaseException:
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(aw.Delivery(b'{"data": {"task_id": "task-1", "state": 1, "file": "https://x.example/a"}}'))
        return connection_lost(sent=True)

    transport = ScriptedTransport(submissions=[lose_the_answer_after_a_callback], queries=[FINISHED])
    async with scripted_client(transport, store=FailsAfterPayment(), callbacks=receiver) as client:
        handle = await client.submit(LINK, key="order-1")
        assert handle.task_id == "task-1"
        assert (await handle).url
    assert transport.submitted == 1


@pytest.mark.parametrize("closing", [False, True])
async def test_a_job_nobody_wants_any_more_is_not_sent_again_after_a_429(
    transport: ScriptedTransport, closing: bool
) -> None:
    store = aw.MemoryStore()
    transport.submissions = [json_response(429, {"retry-after": "2"}), ACCEPTED]
    transport.hold = asyncio.Event()
    async with scripted_client(transport, store=store, drain=20.0) as client:
        submitting = asyncio.create_task(client.submit(LINK, key="order-1"))
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_later(1, transport.hold.set)
        if not closing:
            submitting.cancel()
            await asyncio.sleep(30)
    await asyncio.gather(submitting, return_exceptions=True)
    assert transport.submitted == 1
    assert await store.get("order-1") is None


async def test_an_upload_whose_store_fails_leaves_no_record_behind() -> None:
    class FailsOnce(aw.MemoryStore):
        failures = 1

        async def put(self, record: Record) -> Record | None:
            self.failures -= 1
            if self.failures >= 0:
                raise aw.StoreError("the database is locked")
            return await super().put(record)

    store, transport = FailsOnce(), Videos()
    async with video_client(transport, store) as client:
        with pytest.raises(aw.StoreError):
            await client.remove(VIDEO, key="order-1")
        await asyncio.sleep(60)
        assert await store.get("order-1") is None
        assert (await client.remove(VIDEO, key="order-1")).url
    assert len(transport.started) == 1


@pytest.mark.parametrize("closes", [False, True])
async def test_an_owner_that_was_taken_over_by_mistake_neither_pays_nor_deletes(closes: bool) -> None:
    store, transport = aw.MemoryStore(), Videos(upload_seconds=100.0)
    slow, quick = video_client(transport, store), video_client(transport, store)
    async with quick:
        await slow.__aenter__()
        removing = asyncio.create_task(slow.remove(VIDEO, key="order-1"))
        while transport.uploads == 0:  # noqa: ASYNC110 - the file is read in a thread
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        transport.upload_seconds = 1.0
        await store.owners.unregister(slow._open_engine.context.owner)
        result = await quick.remove(VIDEO, key="order-1")
        if closes:
            await slow.__aexit__()
            await asyncio.gather(removing, return_exceptions=True)
        else:
            assert (await removing).url == result.url
            await slow.__aexit__()
    record = await store.get("order-1")
    assert record is not None
    assert record.snapshot.task_id == result.snapshot.task_id
    assert transport.started == [result.snapshot.task_id]
