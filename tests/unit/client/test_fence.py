"""The fence: an owner whose job was forgotten or taken over sends nothing; evidence counts whoever owns a record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, scripted_client
from tests.support.stores import get_record, put_record
from tests.unit.client.test_one_key import VIDEO, Videos, video_client

VIRTUAL_CLOCK = True
BUSY = json_response(429, {"retry-after": "10"})
FAILED = json_response(status=200, data={"task_id": "task-1", "state": -1})


def take_over(record: Record) -> Record:
    return record.take_over("another client", record.epoch + 1, 1.0, None, "")


async def forget(store: aw.MemoryStore) -> None:
    assert await store.forget(await get_record(store, "order-1"))


async def give_away(store: aw.MemoryStore) -> None:
    await put_record(store, take_over(await get_record(store, "order-1")))


# while a submission waits


async def test_a_submission_that_waits_out_a_429_is_unsent_and_is_committed_before_its_next_attempt(
    transport: ScriptedTransport,
) -> None:
    store = aw.MemoryStore()
    transport.submissions = [BUSY, ACCEPTED]
    async with scripted_client(transport, store=store) as client:
        submitting = asyncio.create_task(client.submit(LINK, key="order-1"))
        await asyncio.sleep(5)
        waiting = await get_record(store, "order-1")
        assert waiting.unsent
        await submitting
        record = await get_record(store, "order-1")
    assert [attempt.outcome for attempt in record.attempts] == ["not accepted: RateLimited", "accepted"]
    assert record.accepted_at is not None
    assert transport.submitted == 2


@pytest.mark.parametrize("pause", [None, "20", "90"])
async def test_a_submission_that_waits_for_the_rate_of_its_account_is_unsent_until_its_turn(
    transport: ScriptedTransport, pause: str | None
) -> None:
    store = aw.MemoryStore()
    provider = aw.PicWish("canary-1", requests_per_second=None if pause else 0.1)
    transport.submissions = [*([json_response(429, {"retry-after": pause})] if pause else []), ACCEPTED, ACCEPTED]
    async with scripted_client(transport, store=store, provider=provider, deadline=300.0) as client:
        first = asyncio.create_task(client.submit(LINK, key="first"))
        await asyncio.sleep(1)
        second = asyncio.create_task(client.submit(LINK, key="second"))
        await asyncio.sleep(5)
        waiting = await get_record(store, "second")
        assert waiting.unsent
        assert not waiting.attempts
        await asyncio.gather(first, second)
        record = await get_record(store, "second")
    assert [attempt.outcome for attempt in record.attempts] == ["accepted"]
    assert transport.submitted == (3 if pause else 2)


async def test_a_submission_that_is_cancelled_while_it_waits_for_the_rate_leaves_no_record(
    transport: ScriptedTransport,
) -> None:
    store = aw.MemoryStore()
    provider = aw.PicWish("canary-1", requests_per_second=0.1)
    async with scripted_client(transport, store=store, provider=provider, deadline=300.0) as client:
        await client.submit(LINK, key="first")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await client.submit(LINK, key="second")
        await asyncio.sleep(1)  # the job's own task deletes it
        assert await store.get("second") is None
    assert transport.submitted == 1


@pytest.mark.parametrize("change", [forget, give_away])
async def test_a_job_that_was_forgotten_or_taken_over_while_it_waited_is_not_sent_by_its_owner(
    transport: ScriptedTransport, change: Callable[[aw.MemoryStore], Any]
) -> None:
    store = aw.MemoryStore()
    transport.submissions = [BUSY, ACCEPTED]
    async with scripted_client(transport, store=store, deadline=60.0) as client:
        submitting = asyncio.create_task(client.submit(LINK, key="order-1"))
        await asyncio.sleep(5)
        await store.owners.register("another client")
        await change(store)
        with pytest.raises(aw.WatermarkError):
            await submitting
    assert transport.submitted == 1


@pytest.mark.parametrize("change", [forget, give_away])
async def test_a_video_that_was_forgotten_or_taken_over_during_its_upload_is_not_started_by_its_owner(
    change: Callable[[aw.MemoryStore], Any],
) -> None:
    store, transport = aw.MemoryStore(), Videos(upload_seconds=100.0)
    async with video_client(transport, store) as client:
        removing = asyncio.create_task(client.remove(VIDEO, key="order-1", deadline=1e6))
        while (await get_record_or_none(store)) is None or transport.uploads == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        await store.owners.register("another client")
        await change(store)
        with pytest.raises(aw.WatermarkError):
            await removing
    assert transport.started == []


async def get_record_or_none(store: aw.MemoryStore) -> Record | None:
    return await store.get("order-1")


class ForgottenDuringSlowPut(aw.MemoryStore):
    """A store whose second commit is slow; meanwhile somebody forgets the job."""

    slow = False

    async def put(self, record: Record) -> Record | None:
        if record.answer_pending and not self.slow:
            self.slow = True
            await asyncio.sleep(5)
            await self.forget(await get_record(self, record.key))
        return await super().put(record)


async def test_a_job_that_is_forgotten_during_a_slow_commit_is_not_sent(transport: ScriptedTransport) -> None:
    transport.submissions = [BUSY, ACCEPTED]
    async with scripted_client(transport, store=ForgottenDuringSlowPut()) as client:
        with pytest.raises(aw.WatermarkError, match="deleted the record"):
            await client.submit(LINK, key="order-1")
    assert transport.submitted == 1


class SlowConnection(ScriptedTransport):
    """A transport that takes `seconds` from a call until the first byte; `meanwhile` is called in that time."""

    def __init__(self, clock: list[float], seconds: list[float], meanwhile: Callable[[], Any] | None = None) -> None:
        super().__init__()
        self.clock, self.seconds, self.meanwhile = clock, seconds, meanwhile

    async def perform(self, request: aw.Request, **rest: Any) -> aw.Response:
        if not request.repeatable:
            self.clock[0] += self.seconds.pop(0)
            if self.meanwhile is not None:
                await self.meanwhile()
                self.meanwhile = None
        return await super().perform(request, **rest)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time since boot, which a test sets."""
    now = [100.0]
    for module in ("commits", "submit"):
        monkeypatch.setattr(f"aiowatermark.client.engine.submission.{module}.time_since_boot", lambda: now[0])
    return now


async def test_an_attempt_that_begins_long_after_its_commit_is_not_sent_before_a_new_commit(
    clock: list[float],
) -> None:
    store = aw.MemoryStore()
    transport = SlowConnection(clock, [30.0, 0.5])
    transport.submissions, transport.queries = [ACCEPTED], [FINISHED]
    async with scripted_client(transport, store=store) as client:
        assert (await client.remove(LINK, key="order-1")).url
    record = await get_record(store, "order-1")
    assert [attempt.outcome for attempt in record.attempts] == ["not accepted: ProviderUnavailable", "accepted"]


@pytest.mark.parametrize("change", [forget, give_away])
async def test_a_job_that_changed_hands_while_its_owner_was_stopped_is_not_sent(
    clock: list[float], change: Callable[[aw.MemoryStore], Any]
) -> None:
    store = aw.MemoryStore()
    await store.owners.register("another client")
    sent: list[bool] = []
    transport = SlowConnection(clock, [30.0, 0.0], lambda: change(store))
    transport.submissions = [lambda: sent.append(True) or ACCEPTED]  # type: ignore[func-returns-value]
    async with scripted_client(transport, store=store, deadline=60.0) as client:
        with pytest.raises(aw.WatermarkError):
            await client.submit(LINK, key="order-1")
    assert len(transport.requests) == 1  # the one that was called off before its first byte


async def test_a_network_on_which_every_connection_takes_seconds_still_submits(clock: list[float]) -> None:
    transport = SlowConnection(clock, [3.0] * 9)
    transport.submissions, transport.queries = [ACCEPTED], [FINISHED]
    async with scripted_client(transport) as client:
        assert (await client.remove(LINK)).url


# evidence


async def test_a_task_id_is_merged_into_a_record_that_was_taken_over(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.hold = asyncio.Event()
    transport.submissions, transport.queries = [ACCEPTED], [FINISHED]
    async with scripted_client(transport, store=store) as client:
        submitting = asyncio.create_task(client.submit(LINK, key="order-1"))
        await asyncio.sleep(1)
        # a mistake nothing here can make: the fence does not rely on that
        await put_record(store, take_over(await get_record(store, "order-1")))
        transport.hold.set()
        assert (await (await submitting)).url
    record = await get_record(store, "order-1")
    assert (record.owner, record.snapshot.task_id) == ("another client", "task-1")
    assert record.snapshot.status is Status.SUCCEEDED


async def test_a_second_task_of_one_job_is_kept_in_its_history_and_logged_as_an_error(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    store = aw.MemoryStore()
    transport.submissions, transport.queries = [ACCEPTED], [PENDING]
    async with scripted_client(transport, store=store) as client:
        handle = await client.submit(LINK, key="order-1")
        active = client._open_engine.jobs["order-1"]
        await client._open_engine.context.snapshots.record(active, Snapshot("task-2", Status.SUCCEEDED))
        assert handle.task_id == "task-1"
    record = await get_record(store, "order-1")
    assert record.snapshot.task_id == "task-1"
    assert not record.snapshot.status.terminal
    assert "task-2" in record.history[-1]
    assert [entry.levelname for entry in caplog.records if "task-2" in entry.getMessage()] == ["ERROR"]


# a failed job


async def fail_once(client: aw.Client, transport: ScriptedTransport) -> None:
    transport.submissions, transport.queries = [ACCEPTED], [FAILED]
    with pytest.raises(aw.JobFailed, match="task failed"):
        await client.remove(LINK, key="order-1")
    transport.queries = [FINISHED]


async def test_a_failed_job_gives_its_failure_again_and_is_charged_anew_only_on_demand(
    transport: ScriptedTransport,
) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        await fail_once(client, transport)
        with pytest.raises(aw.JobFailed, match="task failed"):
            await client.remove(LINK, key="order-1")
        assert transport.submitted == 1
        assert (await client.remove(LINK, key="order-1", again=True)).url
        assert transport.submitted == 2
        # a job that did not fail is not charged again
        assert (await client.remove(LINK, key="order-1", again=True)).url
    assert transport.submitted == 2
    record = await get_record(store, "order-1")
    assert len(record.attempts) == 2
    assert "failed" in record.history[-1]


async def test_of_many_who_ask_for_a_failed_job_again_one_pays(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        await fail_once(client, transport)
    clients = [scripted_client(transport, store=store) for _ in range(5)]
    for client in clients:
        await client.__aenter__()
    results = await asyncio.gather(*(client.remove(LINK, key="order-1", again=True) for client in clients))
    for client in clients:
        await client.__aexit__()
    assert len({result.url for result in results}) == 1
    assert transport.submitted == 2


async def test_the_token_of_a_failed_attempt_does_not_disturb_a_new_one(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    second = json_response(status=200, data={"task_id": "task-2"})
    async with scripted_client(transport, store=store) as client, scripted_client(transport, store=store) as other:
        await fail_once(client, transport)
        token = (await get_record(store, "order-1")).token
        transport.hold, transport.submissions = asyncio.Event(), [second]
        paying = asyncio.create_task(client.remove(LINK, key="order-1", again=True))
        await asyncio.sleep(1)
        resumed = asyncio.create_task(other.resume(token).result())
        await asyncio.sleep(1)
        transport.hold.set()
        assert (await paying).snapshot.task_id == "task-2"
        assert (await resumed).snapshot.task_id == "task-2"


@pytest.mark.parametrize("refusal", [json_response(400, message="no"), connection_lost(sent=False)])
async def test_a_new_charge_that_is_refused_leaves_the_failure_as_it_was(
    transport: ScriptedTransport, refusal: Any
) -> None:
    async with scripted_client(transport) as client:
        await fail_once(client, transport)
        transport.submissions = [refusal]
        with pytest.raises(aw.WatermarkError):
            await client.remove(LINK, key="order-1", again=True, deadline=5)
        transport.submissions = [ACCEPTED]
        with pytest.raises(aw.JobFailed, match="task failed"):
            await client.remove(LINK, key="order-1")


async def test_a_forgotten_failure_is_charged_anew_and_the_log_says_so(
    transport: ScriptedTransport, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted_client(transport) as client:
        await fail_once(client, transport)
        assert await client.forget("order-1") is True
        assert await client.forget("order-1") is False
        assert (await client.remove(LINK, key="order-1")).url
    assert transport.submitted == 2
    assert "order-1 was forgotten" in caplog.text


async def test_a_job_that_is_alive_or_paid_is_not_forgotten(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.submissions, transport.queries = [ACCEPTED], [PENDING]
    async with scripted_client(transport, store=store) as client:
        await client.submit(LINK, key="order-1")
        with pytest.raises(aw.InvalidInput, match="running"):
            await client.forget("order-1")
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.InvalidInput, match="is paid"):
            await client.forget("order-1")
    async with scripted_client(transport, store=store, provider=aw.Kaze("canary-1")) as client:
        with pytest.raises(aw.InvalidInput, match="picwish"):
            await client.forget("order-1")


# a video whose start is in doubt


class LostStarts(Videos):
    """Videos whose first requests to start one are lost on their way."""

    def __init__(self, lost: int) -> None:
        super().__init__(upload_seconds=0.0)
        self.lost = lost

    async def perform(self, request: aw.Request, **rest: Any) -> aw.Response:
        if not request.repeatable and self.lost:
            self.lost -= 1
            rest["on_sent"]()
            raise connection_lost(sent=True)
        return await super().perform(request, **rest)


async def test_a_video_whose_start_was_lost_is_started_once_by_whoever_resumes_it() -> None:
    store, transport = aw.MemoryStore(), LostStarts(1)
    async with video_client(transport, store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(VIDEO, key="order-1")
        assert transport.started == []
    async with video_client(transport, store) as first, video_client(transport, store) as second:
        results = await asyncio.gather(*(client.remove(VIDEO, key="order-1") for client in (first, second)))
    assert {result.snapshot.task_id for result in results} == {"v1"}
    assert transport.started == ["v1"]
    assert transport.uploads == 1


class StartedMeanwhile(LostStarts):
    """Videos of which the lost request to start one arrives just before the next request, which is refused."""

    async def perform(self, request: aw.Request, **rest: Any) -> aw.Response:
        if not request.repeatable and not self.lost and not self.started:
            rest["on_sent"]()
            self.started.append(str(request.body.fields["task_id"]))
            return json_response(400, message="the task is started")
        return await super().perform(request, **rest)


async def test_a_start_that_is_refused_because_the_lost_one_arrived_is_not_taken_for_unpaid() -> None:
    store, transport = aw.MemoryStore(), StartedMeanwhile(1)
    async with video_client(transport, store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(VIDEO, key="order-1")
    async with video_client(transport, store) as client:
        assert (await client.remove(VIDEO, key="order-1")).snapshot.task_id == "v1"
    assert (transport.started, transport.uploads) == (["v1"], 1)


async def test_a_video_that_was_started_and_makes_no_progress_yet_is_not_started_again() -> None:
    class Queued(LostStarts):
        seen = 0

        async def perform(self, request: aw.Request, **rest: Any) -> aw.Response:
            if request.method == "GET" and self.seen < 20:
                self.seen += 1
                return json_response(status="CREATED", started_at=1763794550)
            return await super().perform(request, **rest)

    store, transport = aw.MemoryStore(), Queued(1)
    async with video_client(transport, store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(VIDEO, key="order-1")
        transport.started.append("v1")  # the request arrived, only its answer was lost
    async with video_client(transport, store) as client:
        assert (await client.remove(VIDEO, key="order-1")).url
    assert transport.started == ["v1"]


class FailingStarts(aw.MemoryStore):
    """A store that fails when a client is about to start a video that was uploaded before."""

    failures = 0

    async def put(self, record: Record) -> Record | None:
        if self.failures and record.answer_pending:
            self.failures -= 1
            raise aw.StoreError("the disk is full")
        return await super().put(record)


async def test_a_store_that_fails_before_a_lost_start_is_repeated_does_not_end_the_wait() -> None:
    store, transport = FailingStarts(), LostStarts(1)
    async with video_client(transport, store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(VIDEO, key="order-1")
    async with video_client(transport, store) as client:
        store.failures = 2
        assert (await client.remove(VIDEO, key="order-1")).url
    assert (store.failures, transport.started) == (0, ["v1"])


async def test_recover_starts_a_video_whose_start_was_lost() -> None:
    store, transport = aw.MemoryStore(), LostStarts(2)
    async with video_client(transport, store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(VIDEO, key="order-1")
    async with video_client(transport, store) as client:
        (handle,) = (await client.recover()).resumed
        assert (await handle).url
    assert transport.started == ["v1"]


async def test_a_video_whose_start_was_lost_is_started_also_by_a_client_whose_clock_is_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, transport = aw.MemoryStore(), LostStarts(2)
    async with video_client(transport, store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(VIDEO, key="order-1")
    monkeypatch.setattr("time.time_ns", lambda: 10**9)
    async with video_client(transport, store) as first, video_client(transport, store) as second:
        token = (await get_record(store, "order-1")).token
        results = await asyncio.gather(*(client.resume(token).result() for client in (first, second)))
    assert {result.snapshot.task_id for result in results} == {"v1"}
    assert transport.started == ["v1"]


async def test_a_video_that_is_being_started_by_a_living_client_is_not_started_by_another() -> None:
    store, transport = aw.MemoryStore(), Videos(upload_seconds=0.0)
    left_behind = Record(
        "order-1",
        "dewatermark",
        Snapshot("v1", Status.IN_DOUBT, reason="no answer"),
        video=True,
        account=aw.Dewatermark("canary-1").account,
        owner="alive",
        epoch=1,
    )
    await store.owners.register("alive")
    await store.open(left_behind)
    async with video_client(transport, store) as client:
        handle = client.resume(left_behind.token, deadline=100)
        await asyncio.sleep(50)
        assert transport.started == []
        await store.owners.unregister("alive")
        assert (await handle).url
    assert transport.started == ["v1"]


async def test_a_masked_video_whose_start_was_lost_is_unsent_again_because_its_mask_is_not_stored() -> None:
    store, transport = aw.MemoryStore(), Videos(upload_seconds=0.0)
    record = Record(
        "order-1", "dewatermark", Snapshot("v1", Status.IN_DOUBT, reason="lost"), video=True, masked=True, epoch=1
    )
    await store.open(evolve(record, account=aw.Dewatermark("canary-1").account))
    async with video_client(transport, store) as client:
        with pytest.raises(aw.WatermarkError, match="submit it again, with its mask"):
            await client.resume(record.token)
        assert (await get_record(store, "order-1")).unsent
        assert (await client.remove(VIDEO, key="order-1")).url
    assert transport.started == ["v1"]


async def test_an_answer_that_an_owner_records_just_before_it_ends_is_seen(transport: ScriptedTransport) -> None:
    class Owners:
        async def register(self, owner: str) -> None: ...

        async def unregister(self, owner: str) -> None: ...

        async def is_gone(self, record: Record) -> bool:
            await store.put(record.advance(Snapshot("task-1", Status.QUEUED)))
            return True

    store = aw.MemoryStore()
    store.owners = Owners()  # type: ignore[assignment]
    await store.open(Record("order-1", "picwish", owner="ends now", account=aw.PicWish("canary-1").account, epoch=1))
    async with scripted_client(transport, store=store) as client:
        assert (await client.remove(LINK, key="order-1")).url
    assert transport.submitted == 0
