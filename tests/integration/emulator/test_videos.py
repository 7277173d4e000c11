"""The four steps of a video: an upload URL, the upload, a paid start, and queries as documented."""

from __future__ import annotations

import asyncio
from io import BytesIO

import av
import numpy as np
import pytest

from aiowatermark.emulator import Emulator, Fault
from aiowatermark.emulator.backend.video_worker import _worker_environment
from aiowatermark.emulator.pictures import sample_mark, sample_mask, sample_photo, stamp
from aiowatermark.emulator.restoration.pixels import decode
from tests.support.images import make_image
from tests.support.manual_clock import ManualClock
from tests.support.raw_api import RawApi, make_form
from tests.support.videos import make_mp4_header

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


async def test_a_ticket_is_answered_as_documented_and_is_free(api: RawApi) -> None:
    ticket = await api.create_ticket()
    expected = {"task_id", "upload_signed_url", "file_path", "status", "push_notification_token", "created_at"}
    assert ticket.keys() == expected
    assert (ticket["status"], len(ticket["task_id"])) == ("CREATED", 20)
    assert ticket["file_path"].endswith(ticket["task_id"])
    assert api.emulator.charged["dewatermark"] == 0
    assert api.emulator.tasks[0].state == "created"


async def test_a_ticket_accepts_a_content_type_without_a_boundary_and_an_empty_body(api: RawApi) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    assert (await api.request("POST", "/api/video/v1/upload", "dewatermark", headers=headers)).status == 200
    reply = await api.request("POST", "/api/video/v1/upload", "dewatermark", json={})
    assert reply.status == 400


async def test_a_start_accepts_a_urlencoded_body_with_a_content_type_without_a_boundary(api: RawApi) -> None:
    ticket = await api.create_ticket()
    await api.upload(ticket, b"video")
    body = f"task_id={ticket['task_id']}".encode()
    headers = {"Content-Type": "multipart/form-data"}
    reply = await api.request("POST", "/api/video/v1/tasks", "dewatermark", data=body, headers=headers)
    assert reply.status == 200
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await api.request("POST", "/api/video/v1/tasks", "dewatermark", data=body, headers=headers)
    assert reply.status == 400


async def test_a_start_before_the_upload_is_complete_is_400_and_is_not_charged(api: RawApi) -> None:
    ticket = await api.create_ticket()
    assert (await api.start(ticket["task_id"])).status == 400
    assert api.emulator.charged["dewatermark"] == 0


async def test_a_start_without_a_valid_video_task_is_refused(api: RawApi) -> None:
    assert (await api.start("unknown")).status == 404
    reply = await api.request("POST", "/api/video/v1/tasks", "dewatermark", data=make_form(mask_brush=make_image()))
    assert reply.status == 400
    event = (await api.submit_dewatermark()).json["event_id"]
    assert (await api.start(event)).status == 400


async def test_a_start_with_an_invalid_mask_is_refused(api: RawApi) -> None:
    ticket = await api.create_ticket()
    await api.upload(ticket, b"video")
    assert (await api.start(ticket["task_id"], mask_brush=b"not an image")).status == 400
    assert (await api.start(ticket["task_id"], mask_brush=make_image())).status == 200


async def test_a_video_is_created_then_processing_then_completed(api: RawApi, clock: ManualClock) -> None:
    async with Emulator(restore=False, processing=100, clock=clock) as emulator:
        api = RawApi(emulator, api.session)
        ticket = await api.create_ticket()
        task_id = ticket["task_id"]
        observed = [(await api.query("dewatermark", task_id)).json]
        await api.upload(ticket, make_mp4_header(51.3))
        observed.append((await api.start(task_id)).json)
        await emulator.tasks[0].processed.wait()
        start = clock.now
        for elapsed in (25, 75, 100):
            clock.now = start + elapsed
            observed.append((await api.query("dewatermark", task_id)).json)
        assert [body["status"] for body in observed] == ["CREATED", "CREATED", "PROCESSING", "PROCESSING", "COMPLETED"]
        assert [body["progress"] for body in observed] == [0, 0, 0.25, 0.75, 1]
        assert all(body.keys() == FIELDS for body in observed)
        assert [body["download_signed_url"] is None for body in observed] == [True] * 4 + [False]
        assert (observed[-1]["duration"], observed[-1]["has_watermark"]) == (51.3, False)
        assert observed[-1]["completed_at"] == observed[-1]["started_at"] + 100


async def test_a_video_is_one_charge_of_a_fifth_of_a_credit_per_second(api: RawApi) -> None:
    await api.submit_video(make_mp4_header(51.3))
    await api.emulator.tasks[0].done()
    assert api.emulator.charged["dewatermark"] == 1
    assert api.emulator.balance["dewatermark"] == pytest.approx(1000 - 10.26)


async def test_a_video_started_twice_is_charged_twice(api: RawApi) -> None:
    task_id = await api.submit_video()
    await api.start(task_id)
    assert api.emulator.charged["dewatermark"] == 2


async def test_a_failed_video_is_refunded(api: RawApi) -> None:
    api.emulator.inject(Fault.failed("Injected failure."), step="start")
    task_id = await api.submit_video()
    data = (await api.query("dewatermark", task_id)).json
    assert data["status"] == "FAILED"
    assert data.keys() == FIELDS
    assert data["download_signed_url"] is None
    assert api.emulator.charged["dewatermark"] == 0
    assert api.emulator.refunded["dewatermark"] == 1
    assert api.emulator.balance["dewatermark"] == 1000


async def test_a_failed_video_is_not_refunded_when_the_fault_says_so(api: RawApi) -> None:
    api.emulator.inject(Fault.failed(refund=False))
    await api.submit_video()
    assert api.emulator.charged["dewatermark"] == 1


async def test_a_video_is_refused_without_credits(api: RawApi) -> None:
    async with Emulator(restore=False, credits={"dewatermark": 0}) as emulator:
        api = RawApi(emulator, api.session)
        ticket = await api.create_ticket()
        await api.upload(ticket, b"video")
        assert (await api.start(ticket["task_id"])).status == 403
        assert (await api.submit_visual()).status == 200


async def test_a_query_of_a_finished_video_returns_a_new_link_that_is_valid_for_two_days(
    api: RawApi, clock: ManualClock
) -> None:
    async with Emulator(restore=False, processing=0, clock=clock) as emulator:
        api = RawApi(emulator, api.session)
        task_id = await api.submit_video()
        await emulator.tasks[0].done()
        link = (await api.query("dewatermark", task_id)).json["download_signed_url"]
        clock.now += 2 * 86_400 - 1
        assert (await api.request("GET", link)).status == 200
        clock.now += 1
        expired = await api.request("GET", link)
        assert (expired.status, "ExpiredToken" in expired.text) == (400, True)
        link = (await api.query("dewatermark", task_id)).json["download_signed_url"]
        assert (await api.request("GET", link)).status == 200


def clip(frames: int, mark: bytes | None = None) -> bytes:
    """Return a video of one still image, with the watermark if one is given."""
    photo = sample_photo(320, 240)
    if mark:
        photo = stamp(photo, mark)[0]
    pixels = decode(photo).astype(np.uint8)
    target = BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode())
    return target.getvalue()


async def test_a_video_is_really_restored(restoring_api: RawApi) -> None:
    task_id = await restoring_api.submit_video(clip(24, sample_mark(width=120)))
    await restoring_api.emulator.tasks[0].done()
    data = (await restoring_api.query("dewatermark", task_id)).json
    assert data["status"] == "COMPLETED"
    assert data["duration"] == pytest.approx(1.0, abs=0.1)
    assert (await restoring_api.request("GET", data["download_signed_url"])).body[4:8] == b"ftyp"


async def test_a_video_can_have_a_mask(restoring_api: RawApi) -> None:
    ticket = await restoring_api.create_ticket()
    await restoring_api.upload(ticket, clip(5))
    await restoring_api.start(ticket["task_id"], mask_brush=sample_mask(320, 240))
    await restoring_api.emulator.tasks[0].done()
    data = (await restoring_api.query("dewatermark", ticket["task_id"])).json
    assert (data["status"], data["has_watermark"]) == ("COMPLETED", True)


async def test_a_file_that_is_not_a_video_fails_and_is_refunded(restoring_api: RawApi) -> None:
    task_id = await restoring_api.submit_video(b"not a video" * 100)
    await restoring_api.emulator.tasks[0].done()
    assert (await restoring_api.query("dewatermark", task_id)).json["status"] == "FAILED"
    assert restoring_api.emulator.charged["dewatermark"] == 0


async def test_the_progress_of_a_video_follows_the_work(restoring_api: RawApi) -> None:
    task_id = await restoring_api.submit_video(clip(240, sample_mark(width=120)))
    observed = []
    async with asyncio.timeout(60):
        while restoring_api.emulator.tasks[0].pending:
            observed.append((await restoring_api.query("dewatermark", task_id)).json["progress"])
            await asyncio.sleep(0.01)
    assert observed == sorted(observed)
    # how many values are observed depends on the machine; at least one lies between the start and the end
    assert any(0 < progress < 1 for progress in observed)


@pytest.mark.slow
async def test_closing_does_not_wait_for_a_video_that_is_being_restored(api: RawApi) -> None:
    video = clip(2000)
    async with Emulator(mark=sample_mark(), processing=0) as emulator:
        await RawApi(emulator, api.session).submit_video(video)
        await asyncio.sleep(0.1)
    assert not emulator.tasks[0].processed.is_set()


def test_the_process_that_decodes_videos_gets_no_api_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PICWISH_API_KEY", "DEWATERMARK_API_KEY", "AWS_SECRET_ACCESS_KEY", "MY_OWN_PASSWORD"):
        monkeypatch.setenv(name, "canary")
    environment = _worker_environment()
    assert "canary" not in str(environment)
    assert {"PATH", "PYTHONPATH"} <= environment.keys()
