"""Answers of the video API: pending, completed with details, failed and refunded; and what is persisted when."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator, Fault
from aiowatermark.jobs import Record
from aiowatermark.transport.http import HttpTransport
from tests.support.manual_clock import ManualClock
from tests.support.media_host import Exchange, MediaHost, never_read


async def test_a_started_task_with_status_created_is_pending(host: MediaHost, clip: Path) -> None:
    host.states = [{"status": "CREATED"}, {"status": "CREATED"}, {"status": "PROCESSING", "progress": 0.25}]
    async with host.client() as client:
        handle = await client.submit(clip)
        snapshots = [snapshot async for snapshot in handle.updates()]
    after_upload = [
        (snapshot.status, snapshot.progress) for snapshot in snapshots if snapshot.status is not aw.Status.UPLOADING
    ]
    assert (aw.Status.RUNNING, 0.25) in after_upload
    assert after_upload[-1] == (aw.Status.SUCCEEDED, 1.0)
    assert len(host.start_requests) == 1


async def test_the_error_of_a_failed_video_mentions_the_refund(emulator: Emulator, clip: Path) -> None:
    emulator.inject(Fault.failed(), step="start")
    async with aw.Client(emulator.provider("dewatermark")) as client:
        with pytest.raises(aw.JobFailed, match="refunds") as caught:
            await client.remove(clip)
    assert caught.value.snapshot is not None
    assert caught.value.snapshot.status is aw.Status.FAILED
    assert caught.value.token
    assert (emulator.charged["dewatermark"], emulator.refunded["dewatermark"]) == (0, 1)


@pytest.mark.parametrize(("price", "cost"), [(None, 10.26), (0.5, 25.65)])
async def test_a_result_has_duration_cost_watermark_and_expiry_in_its_details(
    host: MediaHost, clip: Path, price: float | None, cost: float
) -> None:
    settings = {} if price is None else {"credits_per_second": price}
    async with aw.Client(host.provider(**settings)) as client:
        result = await client.remove(clip)
    expires = 1763794728 + 2 * 86_400
    assert result.snapshot.details == {
        "has_watermark": True,
        "duration": 51.3,
        "cost": pytest.approx(cost),
        **({"cost_is_guess": True} if price is None else {}),
        "expires_at": expires,
    }


async def test_an_expired_result_url_is_renewed_by_a_query(clip: Path, tmp_path: Path) -> None:
    clock = ManualClock()
    async with Emulator(restore=False, processing=0, clock=clock) as emulator:
        async with aw.Client(emulator.provider("dewatermark")) as client:
            result = await client.remove(clip)
            queries = emulator.tasks[0].queries
            clock.now += 2 * 86_400 + 1
            assert clock.now > result.snapshot.details["expires_at"]
            await result.save(tmp_path / "clean.mp4")
            assert emulator.tasks[0].queries == queries + 1
            emulator.inject(Fault.expired(), step="result", times=None)
            with pytest.raises(aw.ResultExpired) as caught:
                await result.save(tmp_path / "again.mp4")
        assert emulator.charged["dewatermark"] == 1
    assert (tmp_path / "clean.mp4").read_bytes() == clip.read_bytes()
    assert "Signature" not in str(caught.value)


async def test_upload_progress_reaches_the_callback_and_the_snapshots(host: MediaHost, clip: Path) -> None:
    reported: list[tuple[int, int | None]] = []
    size = clip.stat().st_size

    async with host.client() as client:
        handle = await client.submit(clip, progress=lambda sent, total: reported.append((sent, total)))
        snapshots = [snapshot async for snapshot in handle.updates()]
    assert reported == sorted(reported)
    assert reported[-1] == (size, size)
    assert len(reported) > 5
    uploading = [snapshot for snapshot in snapshots if snapshot.status is aw.Status.UPLOADING]
    shares = [snapshot.progress for snapshot in uploading if snapshot.progress is not None]
    assert shares == sorted(shares)
    assert shares
    assert {snapshot.task_id for snapshot in uploading} == {"task-1"}
    assert snapshots[-1].status is aw.Status.SUCCEEDED


async def test_the_task_id_is_stored_before_the_first_byte_of_the_video_is_sent(host: MediaHost, clip: Path) -> None:
    store = aw.MemoryStore()
    stored: list[aw.Snapshot] = []

    async def read_store_then_accept(exchange: Exchange) -> None:
        record = await store.get("video")
        assert record is not None
        stored.append(record.snapshot)
        body = await exchange.read(exchange.request.length)
        exchange.host.stored.append(body)
        exchange.respond(200)

    host.upload_handlers = [read_store_then_accept]
    async with host.client(store=store) as client:
        await client.remove(clip, key="video")
    assert stored == [aw.Snapshot("task-1", aw.Status.UPLOADING)]


async def test_a_client_closed_during_the_upload_uploads_again_afterwards(host: MediaHost, clip: Path) -> None:
    store = aw.MemoryStore()
    uploading = asyncio.Event()

    async def stall(exchange: Exchange) -> None:
        await exchange.read(100_000)
        uploading.set()
        await host.closing.wait()

    host.upload_handlers = [stall]
    client = host.client(store=store)
    async with client:
        await client.submit(clip, key="video")
        await uploading.wait()
    assert host.start_requests == []
    async with host.client(store=store) as client:
        result = await client.remove(clip, key="video")
    assert result.snapshot.task_id == "task-2"
    assert host.stored == [clip.read_bytes()]
    assert len(host.start_requests) == 1


async def test_a_client_closed_after_the_paid_start_only_polls_afterwards(host: MediaHost, clip: Path) -> None:
    store = aw.MemoryStore()
    host.states = [{"status": "PROCESSING", "progress": 0.5}] * 3
    async with host.client(store=store) as client:
        handle = await client.submit(clip, key="video")
        async for snapshot in handle.updates():
            if snapshot.status is aw.Status.RUNNING:
                break
    async with host.client(store=store) as client:
        assert (await client.remove(clip, key="video")).snapshot.task_id == "task-1"
    async with host.client() as client:
        assert (await client.resume(handle.token)).snapshot.task_id == "task-1"
    assert (len(host.uploads), len(host.start_requests)) == (1, 1)


async def test_a_start_whose_answer_is_lost_is_queried_and_never_sent_again(emulator: Emulator, clip: Path) -> None:
    emulator.inject(Fault.dropped_after(), step="start")
    async with aw.Client(emulator.provider("dewatermark")) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.remove(clip)
        assert caught.value.token is not None
        result = await client.resume(caught.value.token)
        assert await result.read() == clip.read_bytes()
    assert emulator.charged["dewatermark"] == 1


async def test_polling_continues_while_uploads_occupy_all_transfer_connections(
    host: MediaHost, long_clip: Path
) -> None:
    host.upload_handlers = [never_read] * 40
    provider = host.provider()
    snapshot = aw.Snapshot("task-0", aw.Status.QUEUED)
    token = Record("elsewhere", "dewatermark", snapshot, video=True).token
    async with aw.Client(provider, transport=HttpTransport(provider, transfers=2), drain=0.0) as client:
        for _ in range(10):
            await client.submit(long_clip)
        result = await client.resume(token).result(timeout=10)
        assert result.snapshot.status is aw.Status.SUCCEEDED
    assert host.start_requests == []
