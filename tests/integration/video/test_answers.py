"""What the provider says of a video: pending, done with its facts, failed and refunded; what is stored when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define

import aiowatermark as aw
from aiowatermark.emulator import Emulator, Fault
from aiowatermark.jobs import Record
from aiowatermark.transport.http import HttpTransport

if TYPE_CHECKING:
    from .conftest import Host, Line


@define
class Clock:
    """A clock that moves when it is told to."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_created_after_the_submit_is_pending(host: Host, clip: Path) -> None:
    host.states = [{"status": "CREATED"}, {"status": "CREATED"}, {"status": "PROCESSING", "progress": 0.25}]
    async with host.client() as client:
        handle = await client.submit(clip)
        seen = [snapshot async for snapshot in handle.updates()]
    told = [(snapshot.status, snapshot.progress) for snapshot in seen if snapshot.status is not aw.Status.UPLOADING]
    assert (aw.Status.RUNNING, 0.25) in told
    assert told[-1] == (aw.Status.SUCCEEDED, 1.0)
    assert len(host.starts) == 1


async def test_a_failed_video_says_that_it_is_refunded(emulator: Emulator, clip: Path) -> None:
    emulator.inject(Fault.failed(), step="start")
    async with aw.Client(emulator.provider("dewatermark")) as client:
        with pytest.raises(aw.JobFailed, match="refunds") as caught:
            await client.remove(clip)
    assert caught.value.snapshot is not None
    assert caught.value.snapshot.status is aw.Status.FAILED
    assert caught.value.token
    assert (emulator.charged["dewatermark"], emulator.refunded["dewatermark"]) == (0, 1)


@pytest.mark.parametrize(("price", "cost"), [(None, 10.26), (0.5, 25.65)])
async def test_a_result_knows_duration_cost_mark_and_when_its_link_expires(
    host: Host, clip: Path, price: float | None, cost: float
) -> None:
    settings = {} if price is None else {"credits_per_second": price}
    async with aw.Client(host.provider(**settings)) as client:
        result = await client.remove(clip)
    expires = 1763794728 + 2 * 86_400
    assert result.snapshot.details == {
        "has_watermark": True,
        "duration": 51.3,
        "cost": pytest.approx(cost),
        "expires_at": expires,
    }


async def test_a_link_that_is_gone_is_asked_for_anew_by_a_fresh_query(clip: Path, tmp_path: Path) -> None:
    clock = Clock()
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


async def test_progress_reaches_the_caller_and_the_handle(host: Host, clip: Path) -> None:
    told: list[tuple[int, int | None]] = []
    size = clip.stat().st_size

    async with host.client() as client:
        handle = await client.submit(clip, progress=lambda sent, total: told.append((sent, total)))
        seen = [snapshot async for snapshot in handle.updates()]
    assert told == sorted(told)
    assert told[-1] == (size, size)
    assert len(told) > 5
    uploading = [snapshot for snapshot in seen if snapshot.status is aw.Status.UPLOADING]
    shares = [snapshot.progress for snapshot in uploading if snapshot.progress is not None]
    assert shares == sorted(shares)
    assert shares
    assert {snapshot.task_id for snapshot in uploading} == {"task-1"}
    assert seen[-1].status is aw.Status.SUCCEEDED


async def test_the_task_is_in_the_store_before_the_first_byte_of_the_film_leaves(host: Host, clip: Path) -> None:
    store = aw.MemoryStore()
    found: list[aw.Snapshot] = []

    async def look(line: Line) -> None:
        record = await store.get("film")
        assert record is not None
        found.append(record.snapshot)
        body = await line.read(line.taken.length)
        line.host.stored.append(body)
        line.say(200)

    host.puts = [look]
    async with host.client(store=store) as client:
        await client.remove(clip, key="film")
    assert found == [aw.Snapshot("task-1", aw.Status.UPLOADING)]


async def test_a_crash_in_the_upload_is_resumed_by_uploading_again(host: Host, clip: Path, ways: Any) -> None:
    store = aw.MemoryStore()
    reached = asyncio.Event()

    async def stuck(line: Line) -> None:
        await line.read(100_000)
        reached.set()
        await host.closing.wait()

    host.puts = [stuck]
    client = host.client(store=store)
    async with client:
        await client.submit(clip, key="film")
        await reached.wait()
    assert host.starts == []
    async with host.client(store=store) as client:
        result = await client.remove(clip, key="film")
    assert result.snapshot.task_id == "task-2"
    assert host.stored == [clip.read_bytes()]
    assert len(host.starts) == 1


async def test_a_crash_after_the_paid_submit_is_resumed_by_looking(host: Host, clip: Path) -> None:
    store = aw.MemoryStore()
    host.states = [{"status": "PROCESSING", "progress": 0.5}] * 3
    async with host.client(store=store) as client:
        handle = await client.submit(clip, key="film")
        async for snapshot in handle.updates():
            if snapshot.status is aw.Status.RUNNING:
                break
    async with host.client(store=store) as client:
        assert (await client.remove(clip, key="film")).snapshot.task_id == "task-1"
    async with host.client() as client:
        assert (await client.resume(handle.token)).snapshot.task_id == "task-1"
    assert (len(host.uploads), len(host.starts)) == (1, 1)


async def test_a_start_whose_answer_is_lost_is_looked_for_and_never_sent_again(emulator: Emulator, clip: Path) -> None:
    emulator.inject(Fault.dropped_after(), step="start")
    async with aw.Client(emulator.provider("dewatermark")) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.remove(clip)
        assert caught.value.token is not None
        result = await client.resume(caught.value.token)
        assert await result.read() == clip.read_bytes()
    assert emulator.charged["dewatermark"] == 1


async def test_polls_go_on_while_more_uploads_run_than_there_are_connections(
    host: Host, clip: Path, ways: Any, tmp_path: Path
) -> None:
    long = tmp_path / "long.mp4"
    long.write_bytes(ways.film(24_000_000))
    host.puts = [ways.deaf] * 40
    provider = host.provider()
    job = aw.Snapshot("task-0", aw.Status.QUEUED)
    token = Record("elsewhere", "dewatermark", job, video=True).token
    async with aw.Client(provider, transport=HttpTransport(provider, transfers=2), drain=0.0) as client:
        for _ in range(10):
            await client.submit(long)
        result = await client.resume(token).result(timeout=10)
        assert result.snapshot.status is aw.Status.SUCCEEDED
    assert host.starts == []
