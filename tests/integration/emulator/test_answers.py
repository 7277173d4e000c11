"""Accepted jobs are answered in exactly the shapes of the documents, and charged once each."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest

from aiowatermark.emulator import EmulatedTask, Emulator

if TYPE_CHECKING:
    from .conftest import Calls, Clock

LINK = "https://example.com/image-with-watermark.png"
NAMES = ("gptge", "picwish", "kaze", "photoeraser", "dewatermark")
VISUAL = {"completed_at", "created_at", "file", "processed_at", "progress", "state", "task_id"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("name", NAMES)
async def test_an_accepted_job_is_charged_once_and_queries_cost_nothing(calls: Calls, name: str) -> None:
    reply = await calls.submit(name)
    if name != "dewatermark":
        await calls.finished(name, reply)
        await calls.finished(name, reply)
        assert calls.emulator.tasks[0].queries == 2
    assert calls.emulator.charged == {**dict.fromkeys(NAMES, 0), name: 1}
    assert calls.emulator.balance[name] == 999
    assert [(task.provider, task.charges) for task in calls.emulator.tasks] == [(name, 1)]


@pytest.mark.parametrize("name", ["gptge", "picwish"])
async def test_an_asynchronous_visual_submit_answers_the_task_id_alone(calls: Calls, name: str) -> None:
    reply = await calls.visual(name, url=LINK, sync="0")
    assert reply.data.keys() == {"task_id"}
    assert reply.json["status"] == 200
    assert ("message" in reply.json) is (name == "picwish")


@pytest.mark.parametrize("name", ["gptge", "picwish"])
async def test_sync_answers_the_whole_data_object(calls: Calls, name: str) -> None:
    data = (await calls.visual(name, url=LINK, sync="1")).data
    assert data.keys() == VISUAL | ({"state_detail"} if name == "gptge" else set())
    assert (data["state"], data["progress"]) == (1, 100)
    assert all(isinstance(data[time], int) for time in ("created_at", "processed_at", "completed_at"))
    assert data["file"].startswith(calls.emulator.storage_url)


async def test_a_picture_comes_back_byte_for_byte_when_nothing_is_restored(calls: Calls) -> None:
    picture = calls.picture(kind="bmp")
    reply = await calls.visual("picwish", file=picture, sync="1")
    download = await calls.ask("GET", reply.data["file"])
    assert download.body == picture
    assert download.headers["Content-Type"] == "image/bmp"


async def test_a_file_part_without_a_file_name_is_taken(calls: Calls) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = head + calls.picture() + b"\r\n--x--\r\n"
    assert (await calls.ask("POST", calls.paths["gptge"], "gptge", data=body, headers=headers)).status == 200


async def test_a_visual_job_is_queued_then_processed_then_done(calls: Calls, clock: Clock) -> None:
    async with Emulator(restore=False, processing=100, clock=clock) as emulator:
        calls = type(calls)(emulator, calls.session)
        task_id = (await calls.visual("gptge")).data["task_id"]
        seen = []
        start = clock.now
        for passed in (0, 50, 99.9, 100):
            clock.now = start + passed
            data = (await calls.query("gptge", task_id)).data
            seen.append((data["state"], data["progress"], data["state_detail"], bool(data["file"])))
        assert seen == [
            (0, 0, "Processing", False),
            (4, 50, "Processing", False),
            (4, 99, "Processing", False),
            (1, 100, "Complete", True),
        ]


async def test_sync_answers_pending_with_an_id_when_the_work_takes_too_long(calls: Calls) -> None:
    async with Emulator(restore=False, processing=100, sync_limit=0.01) as emulator:
        data = (await type(calls)(emulator, calls.session).visual(url=LINK, sync="1")).data
        assert data["task_id"]
        assert data["state"] in (0, 4)


async def test_every_query_of_a_finished_job_gives_a_fresh_link(calls: Calls) -> None:
    reply = await calls.visual()
    first, second = [(await calls.finished("picwish", reply)).data["file"] for _ in range(2)]
    assert first != second
    assert (await calls.ask("GET", first)).body == (await calls.ask("GET", second)).body


async def test_kaze_answers_as_documented(calls: Calls) -> None:
    reply = await calls.kaze(image_url=LINK, smear_url="https://example.com/smear.png")
    assert reply.json == {"code": 0, "message": "success", "data": {"task_id": reply.data["task_id"]}}
    done = await calls.finished("kaze", reply)
    assert done.json.keys() == {"message", "data"}
    assert done.data.keys() == {"status", "images"}
    assert done.data["status"] == "success"
    assert [image.keys() for image in done.data["images"]] == [{"url"}]


async def test_kaze_answers_a_failure_with_err_msg(calls: Calls) -> None:
    done = await calls.finished("kaze", await calls.kaze(image_url="https://nowhere.invalid/a.png"))
    assert done.data["status"] == "failed"
    assert done.data["images"] == []
    assert "downloaded" in done.data["err_msg"]


async def test_kaze_answers_processing_while_it_works(calls: Calls) -> None:
    async with Emulator(restore=False, processing=100) as emulator:
        calls = type(calls)(emulator, calls.session)
        task_id = (await calls.kaze()).data["task_id"]
        assert (await calls.query("kaze", task_id)).data == {"status": "processing", "images": []}


async def test_kaze_quota_tells_limit_usage_and_remaining(calls: Calls) -> None:
    await calls.kaze()
    reply = await calls.ask("POST", "/api/ext/v1/get_quota", "kaze", json={})
    assert reply.data == {"limit": 1000, "usage": 1, "remaining": 999}


async def test_photo_eraser_answers_each_picture_in_the_order_of_the_request(calls: Calls) -> None:
    good = calls.emulator.host(calls.picture())
    links = [good, "https://nowhere.invalid/a.png", calls.emulator.host(b"no picture"), good]
    reply = await calls.eraser(images=links, mask=b64(calls.picture()), priority=9)
    assert reply.json == {"code": 0, "msg": "", "data": {"task_id": reply.data["task_id"]}}
    data = (await calls.finished("photoeraser", reply)).data
    assert data.keys() == {"status", "wait_time", "list"}
    assert (data["status"], data["wait_time"]) == ("3", "0")
    assert [item["status"] for item in data["list"]] == ["3", "4", "4", "3"]
    assert [bool(item["image_result"]) for item in data["list"]] == [True, False, False, True]
    assert all(item.keys() == {"image_result", "status", "reason"} for item in data["list"])


@pytest.mark.parametrize(
    ("passed", "status", "wait"), [(0, "1", "10"), (5, "2", "5"), (9.5, "2", "0.50"), (10, "3", "0")]
)
async def test_photo_eraser_tells_status_and_wait_time_as_text(
    calls: Calls, clock: Clock, passed: float, status: str, wait: str
) -> None:
    async with Emulator(restore=False, processing=10, clock=clock) as emulator:
        calls = type(calls)(emulator, calls.session)
        link = emulator.host(calls.picture())
        task_id = (await calls.eraser(images=[link])).data["task_id"]
        await asyncio.wait_for(emulator.tasks[0].processed.wait(), 5)
        clock.now += passed
        data = (await calls.query("photoeraser", task_id)).data
        assert (data["status"], data["wait_time"]) == (status, wait)


@pytest.mark.parametrize("mask", ["base64", "data", "link"])
async def test_photo_eraser_takes_masks_as_base64_as_data_uri_and_as_link(calls: Calls, mask: str) -> None:
    data = calls.picture()
    masks = {"base64": b64(data), "data": "data:image/png;base64," + b64(data), "link": calls.emulator.host(data)}
    reply = await calls.eraser(images=[calls.emulator.host(data)], mask=masks[mask])
    assert (await calls.finished("photoeraser", reply)).data["list"][0]["status"] == "3"


@pytest.mark.parametrize("version", ["v2", "v3"])
async def test_dewatermark_answers_the_picture_itself(calls: Calls, version: str) -> None:
    picture = calls.picture(kind="jpg")
    reply = await calls.erase(version, original_preview_image=picture, remove_text="false", predict_mode="old")
    assert reply.json.keys() == {"edited_image", "event_id", "session_id"}
    assert reply.json["edited_image"].keys() == {"image", "image_id", "mask", "watermark_mask"}
    assert base64.b64decode(reply.json["edited_image"]["image"]) == picture


async def test_every_dewatermark_call_is_charged_refinements_too(calls: Calls) -> None:
    first = (await calls.erase()).json
    edited = {name: base64.b64decode(first["edited_image"][name]) for name in ("image", "mask")}
    second = await calls.erase(
        original_preview_image=edited["image"], mask_base=edited["mask"], mask_brush=calls.picture()
    )
    session = second.json["session_id"]
    third = await calls.erase(session_id=session, mask_base=edited["mask"], mask_brush=calls.picture())
    assert third.json["session_id"] == session
    assert (await calls.erase(session_id=session, mask_base=first["edited_image"]["mask"])).status == 200
    assert calls.emulator.charged["dewatermark"] == 4


async def test_dewatermark_tolerates_a_session_beside_a_picture_as_the_curl_sample_sends_it(calls: Calls) -> None:
    reply = await calls.erase(session_id="SESSION_ID", original_preview_image=calls.picture(kind="jpg"))
    assert reply.status == 200
    again = await calls.erase(session_id=reply.json["session_id"], original_preview_image=calls.picture(kind="jpg"))
    assert again.json["session_id"] == reply.json["session_id"]


async def test_credit_info_tells_what_is_left(calls: Calls) -> None:
    await calls.erase()
    reply = await calls.ask("GET", "/api/creditInfo", "dewatermark")
    assert reply.json == {"status": "OK", "data": {"available_credit": 999, "user_id": "emulator"}}


async def test_what_the_customer_got_wrong_is_not_charged_in_the_end(calls: Calls) -> None:
    assert (await calls.visual(file=b"no picture", sync="1")).data["state"] == -7
    assert calls.emulator.charged["picwish"] == 0
    assert calls.emulator.refunded["picwish"] == 1
    assert calls.emulator.balance["picwish"] == 1000


async def test_processing_may_be_a_function_of_the_task(calls: Calls) -> None:
    def seconds(task: EmulatedTask) -> float:
        return 100 if task.provider == "kaze" else 0

    async with Emulator(restore=False, processing=seconds) as emulator:
        calls = type(calls)(emulator, calls.session)
        await calls.kaze()
        await calls.visual()
        assert [task.state for task in emulator.tasks] == ["processing", "succeeded"]


async def test_links_are_fetched_from_loopback_without_following_redirects(calls: Calls) -> None:
    good = await calls.visual(url=calls.emulator.host(calls.picture(), "été 1.png"), sync="1")
    assert good.data["state"] == 1
    gone = await calls.visual(url=calls.emulator.storage_url + "/lent/nothing/here.png", sync="1")
    assert gone.data["state"] == -3
    closed = await calls.visual(url="http://127.0.0.1:1/a.png", sync="1")
    assert closed.data["state"] == -3
    localhost = calls.emulator.host(calls.picture()).replace("127.0.0.1", "localhost")
    assert (await calls.visual(url=localhost, sync="1")).data["state"] == 1
