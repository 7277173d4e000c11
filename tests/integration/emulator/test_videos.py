"""The four steps of a video: a free ticket, an upload, a paid start, and queries as documented."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from aiowatermark.emulator import Emulator, Fault
from aiowatermark.emulator.pictures import sample_mark, sample_mask, sample_photo, stamp

if TYPE_CHECKING:
    from .conftest import Calls, Clock

FIELDS = {
    "created_at",
    "task_id",
    "has_watermark",
    "instance_name",
    "progress",
    "file_path",
    "completed_at",
    "upload_signed_url",
    "push_notification_token",
    "duration",
    "status",
    "download_signed_url",
    "started_at",
}


def film(seconds: float) -> bytes:
    """The bytes in which an MP4 says how long it lasts (`mvhd`, version 0)."""
    return bytes(64) + b"mvhd" + struct.pack(">IIIII", 0, 0, 0, 1000, round(seconds * 1000)) + bytes(80)


async def test_a_ticket_is_answered_as_documented_and_costs_nothing(calls: Calls) -> None:
    ticket = await calls.ticket()
    expected = {"task_id", "upload_signed_url", "file_path", "status", "push_notification_token", "created_at"}
    assert ticket.keys() == expected
    assert (ticket["status"], len(ticket["task_id"])) == ("CREATED", 20)
    assert ticket["file_path"].endswith(ticket["task_id"])
    assert calls.emulator.charged["dewatermark"] == 0
    assert calls.emulator.tasks[0].state == "created"


async def test_a_ticket_takes_the_content_type_without_a_boundary_and_no_body(calls: Calls) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    assert (await calls.ask("POST", "/api/video/v1/upload", "dewatermark", headers=headers)).status == 200
    reply = await calls.ask("POST", "/api/video/v1/upload", "dewatermark", json={})
    assert reply.status == 400


async def test_a_start_takes_urlencoded_text_under_the_content_type_without_a_boundary(calls: Calls) -> None:
    ticket = await calls.ticket()
    await calls.put(ticket, b"film")
    body = f"task_id={ticket['task_id']}".encode()
    headers = {"Content-Type": "multipart/form-data"}
    reply = await calls.ask("POST", "/api/video/v1/tasks", "dewatermark", data=body, headers=headers)
    assert reply.status == 200
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await calls.ask("POST", "/api/video/v1/tasks", "dewatermark", data=body, headers=headers)
    assert reply.status == 400


async def test_a_start_before_the_upload_is_complete_is_400_and_costs_nothing(calls: Calls) -> None:
    ticket = await calls.ticket()
    assert (await calls.start(ticket["task_id"])).status == 400
    assert calls.emulator.charged["dewatermark"] == 0


async def test_a_start_of_an_unknown_task_or_of_none_is_refused(calls: Calls) -> None:
    assert (await calls.start("unknown")).status == 404
    reply = await calls.ask("POST", "/api/video/v1/tasks", "dewatermark", data=calls.form(mask_brush=calls.picture()))
    assert reply.status == 400
    event = (await calls.erase()).json["event_id"]
    assert (await calls.start(event)).status == 400


async def test_a_start_with_a_mask_that_is_no_picture_is_refused(calls: Calls) -> None:
    ticket = await calls.ticket()
    await calls.put(ticket, b"film")
    assert (await calls.start(ticket["task_id"], mask_brush=b"no picture")).status == 400
    assert (await calls.start(ticket["task_id"], mask_brush=calls.picture())).status == 200


async def test_a_video_is_created_then_processed_then_completed(calls: Calls, clock: Clock) -> None:
    async with Emulator(restore=False, processing=100, clock=clock) as emulator:
        calls = type(calls)(emulator, calls.session)
        ticket = await calls.ticket()
        task_id = ticket["task_id"]
        seen = [(await calls.query("dewatermark", task_id)).json]
        await calls.put(ticket, film(51.3))
        seen.append((await calls.start(task_id)).json)
        await emulator.tasks[0].processed.wait()
        start = clock.now
        for passed in (25, 75, 100):
            clock.now = start + passed
            seen.append((await calls.query("dewatermark", task_id)).json)
        assert [one["status"] for one in seen] == ["CREATED", "CREATED", "PROCESSING", "PROCESSING", "COMPLETED"]
        assert [one["progress"] for one in seen] == [0, 0, 0.25, 0.75, 1]
        assert all(one.keys() == FIELDS for one in seen)
        assert [one["download_signed_url"] is None for one in seen] == [True] * 4 + [False]
        assert (seen[-1]["duration"], seen[-1]["has_watermark"]) == (51.3, False)
        assert seen[-1]["completed_at"] == seen[-1]["started_at"] + 100


async def test_a_video_costs_a_fifth_of_a_credit_a_second_and_is_one_charge(calls: Calls) -> None:
    await calls.film(film(51.3))
    await calls.emulator.tasks[0].done()
    assert calls.emulator.charged["dewatermark"] == 1
    assert calls.emulator.balance["dewatermark"] == pytest.approx(1000 - 10.26)


async def test_a_video_started_twice_is_charged_twice(calls: Calls) -> None:
    task_id = await calls.film()
    await calls.start(task_id)
    assert calls.emulator.charged["dewatermark"] == 2


async def test_a_failed_video_is_refunded(calls: Calls) -> None:
    calls.emulator.inject(Fault.failed("No luck."), step="start")
    task_id = await calls.film()
    data = (await calls.query("dewatermark", task_id)).json
    assert data["status"] == "FAILED"
    assert data.keys() == FIELDS
    assert data["download_signed_url"] is None
    assert calls.emulator.charged["dewatermark"] == 0
    assert calls.emulator.refunded["dewatermark"] == 1
    assert calls.emulator.balance["dewatermark"] == 1000


async def test_a_failed_video_keeps_the_money_when_the_fault_says_so(calls: Calls) -> None:
    calls.emulator.inject(Fault.failed(refund=False))
    await calls.film()
    assert calls.emulator.charged["dewatermark"] == 1


async def test_a_video_is_refused_without_credits(calls: Calls) -> None:
    async with Emulator(restore=False, credits={"dewatermark": 0}) as emulator:
        calls = type(calls)(emulator, calls.session)
        ticket = await calls.ticket()
        await calls.put(ticket, b"film")
        assert (await calls.start(ticket["task_id"])).status == 403
        assert (await calls.visual()).status == 200


async def test_a_finished_video_gives_a_fresh_link_that_is_valid_for_two_days(calls: Calls, clock: Clock) -> None:
    async with Emulator(restore=False, processing=0, clock=clock) as emulator:
        calls = type(calls)(emulator, calls.session)
        task_id = await calls.film()
        await emulator.tasks[0].done()
        link = (await calls.query("dewatermark", task_id)).json["download_signed_url"]
        clock.now += 2 * 86_400 - 1
        assert (await calls.ask("GET", link)).status == 200
        clock.now += 1
        gone = await calls.ask("GET", link)
        assert (gone.status, "ExpiredToken" in gone.text) == (400, True)
        link = (await calls.query("dewatermark", task_id)).json["download_signed_url"]
        assert (await calls.ask("GET", link)).status == 200


@pytest.fixture
async def restoring(calls: Calls) -> AsyncIterator[Calls]:
    """An emulator that restores, knowing a mark."""
    pytest.importorskip("av")
    async with Emulator(mark=sample_mark(), processing=0) as emulator:
        yield type(calls)(emulator, calls.session)


def clip(frames: int, mark: bytes | None = None) -> bytes:
    """A video of one still picture, with the mark on it."""
    av = pytest.importorskip("av")
    picture = sample_photo(320, 240)
    if mark:
        picture = stamp(picture, mark)[0]
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    target = BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode())
    return target.getvalue()


async def test_a_video_is_really_restored_in_a_process_of_its_own(restoring: Calls) -> None:
    task_id = await restoring.film(clip(24, sample_mark(width=120)))
    await restoring.emulator.tasks[0].done()
    data = (await restoring.query("dewatermark", task_id)).json
    assert data["status"] == "COMPLETED"
    assert data["duration"] == pytest.approx(1.0, abs=0.1)
    assert (await restoring.ask("GET", data["download_signed_url"])).body[4:8] == b"ftyp"


async def test_a_video_may_come_with_a_mask(restoring: Calls) -> None:
    ticket = await restoring.ticket()
    await restoring.put(ticket, clip(5))
    await restoring.start(ticket["task_id"], mask_brush=sample_mask(320, 240))
    await restoring.emulator.tasks[0].done()
    data = (await restoring.query("dewatermark", ticket["task_id"])).json
    assert (data["status"], data["has_watermark"]) == ("COMPLETED", True)


async def test_a_file_that_is_no_video_fails_and_is_refunded(restoring: Calls) -> None:
    task_id = await restoring.film(b"no video" * 100)
    await restoring.emulator.tasks[0].done()
    assert (await restoring.query("dewatermark", task_id)).json["status"] == "FAILED"
    assert restoring.emulator.charged["dewatermark"] == 0


async def test_the_progress_of_a_video_moves_with_the_work(restoring: Calls) -> None:
    task_id = await restoring.film(clip(240, sample_mark(width=120)))
    seen = []
    async with asyncio.timeout(60):
        while restoring.emulator.tasks[0].pending:
            seen.append((await restoring.query("dewatermark", task_id)).json["progress"])
            await asyncio.sleep(0.01)
    assert seen == sorted(seen)
    # how many steps are seen is the machine's business; that there is one between nothing and all is ours
    assert any(0 < progress < 1 for progress in seen)


async def test_a_video_that_is_being_worked_on_does_not_keep_the_emulator(calls: Calls) -> None:
    film = clip(2000)
    loop = asyncio.get_running_loop()
    async with Emulator(mark=sample_mark(), processing=0) as emulator:
        await type(calls)(emulator, calls.session).film(film)
        await asyncio.sleep(0.1)
        before = loop.time()
    assert loop.time() - before < 2
