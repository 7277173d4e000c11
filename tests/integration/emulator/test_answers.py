"""Accepted jobs are answered in the shapes of the documents, and charged once each."""

from __future__ import annotations

import asyncio
import base64

import pytest

from aiowatermark.emulator import EmulatedTask, Emulator
from tests.support.images import make_image
from tests.support.manual_clock import ManualClock
from tests.support.raw_api import PATHS, RawApi, b64

LINK = "https://example.com/image-with-watermark.png"
NAMES = ("gptge", "picwish", "kaze", "photoeraser", "dewatermark")
VISUAL = {"completed_at", "created_at", "file", "processed_at", "progress", "state", "task_id"}


@pytest.mark.parametrize("name", NAMES)
async def test_an_accepted_job_is_charged_once_and_queries_are_free(api: RawApi, name: str) -> None:
    reply = await api.submit(name)
    if name != "dewatermark":
        await api.query_when_done(name, reply)
        await api.query_when_done(name, reply)
        assert api.emulator.tasks[0].queries == 2
    assert api.emulator.charged == {**dict.fromkeys(NAMES, 0), name: 1}
    assert api.emulator.balance[name] == 999
    assert [(task.provider, task.charges) for task in api.emulator.tasks] == [(name, 1)]


@pytest.mark.parametrize("name", ["gptge", "picwish"])
async def test_an_asynchronous_visual_submit_answers_with_the_task_id_only(api: RawApi, name: str) -> None:
    reply = await api.submit_visual(name, url=LINK, sync="0")
    assert reply.data.keys() == {"task_id"}
    assert reply.json["status"] == 200
    assert ("message" in reply.json) is (name == "picwish")


@pytest.mark.parametrize("name", ["gptge", "picwish"])
async def test_sync_answers_with_the_whole_data_object(api: RawApi, name: str) -> None:
    data = (await api.submit_visual(name, url=LINK, sync="1")).data
    assert data.keys() == VISUAL | ({"state_detail"} if name == "gptge" else {"use_point", "time_elapsed"})
    assert (data["state"], data["progress"]) == (1, 100)
    assert all(isinstance(data[time], int) for time in ("created_at", "processed_at", "completed_at"))
    assert data["file"].startswith(api.emulator.storage_url)


async def test_an_image_is_returned_byte_for_byte_when_the_emulator_does_not_restore(api: RawApi) -> None:
    image = make_image(kind="bmp")
    reply = await api.submit_visual("picwish", file=image, sync="1")
    download = await api.request("GET", reply.data["file"])
    assert download.body == image
    assert download.headers["Content-Type"] == "image/bmp"


async def test_a_file_part_without_a_file_name_is_accepted(api: RawApi) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = part + make_image() + b"\r\n--x--\r\n"
    assert (await api.request("POST", PATHS["gptge"], "gptge", data=body, headers=headers)).status == 200


async def test_a_visual_job_is_queued_then_processing_then_done(api: RawApi, clock: ManualClock) -> None:
    async with Emulator(restore=False, processing=100, clock=clock) as emulator:
        api = RawApi(emulator, api.session)
        task_id = (await api.submit_visual("gptge")).data["task_id"]
        observed = []
        start = clock.now
        for elapsed in (0, 50, 99.9, 100):
            clock.now = start + elapsed
            data = (await api.query("gptge", task_id)).data
            observed.append((data["state"], data["progress"], data["state_detail"], bool(data["file"])))
        assert observed == [
            (0, 0, "Processing", False),
            (4, 50, "Processing", False),
            (4, 99, "Processing", False),
            (1, 100, "Complete", True),
        ]


async def test_sync_answers_with_a_pending_task_when_the_work_takes_too_long(api: RawApi) -> None:
    async with Emulator(restore=False, processing=100, sync_limit=0.01) as emulator:
        data = (await RawApi(emulator, api.session).submit_visual(url=LINK, sync="1")).data
        assert data["task_id"]
        assert data["state"] in (0, 4)


async def test_every_query_of_a_finished_job_returns_a_new_link(api: RawApi) -> None:
    reply = await api.submit_visual()
    first, second = [(await api.query_when_done("picwish", reply)).data["file"] for _ in range(2)]
    assert first != second
    assert (await api.request("GET", first)).body == (await api.request("GET", second)).body


async def test_kaze_answers_as_documented(api: RawApi) -> None:
    reply = await api.submit_kaze(image_url=LINK, smear_url="https://example.com/smear.png")
    assert reply.json == {"code": 0, "message": "success", "data": {"task_id": reply.data["task_id"]}}
    finished = await api.query_when_done("kaze", reply)
    assert finished.json.keys() == {"message", "data"}
    assert finished.data.keys() == {"status", "images"}
    assert finished.data["status"] == "success"
    assert [image.keys() for image in finished.data["images"]] == [{"url"}]


async def test_kaze_reports_a_failure_in_err_msg(api: RawApi) -> None:
    finished = await api.query_when_done("kaze", await api.submit_kaze(image_url="https://unreachable.invalid/a.png"))
    assert finished.data["status"] == "failed"
    assert finished.data["images"] == []
    assert "downloaded" in finished.data["err_msg"]


async def test_kaze_answers_processing_while_the_job_runs(api: RawApi) -> None:
    async with Emulator(restore=False, processing=100) as emulator:
        api = RawApi(emulator, api.session)
        task_id = (await api.submit_kaze()).data["task_id"]
        assert (await api.query("kaze", task_id)).data == {"status": "processing", "images": []}


async def test_kaze_quota_contains_limit_usage_and_remaining(api: RawApi) -> None:
    await api.submit_kaze()
    reply = await api.request("POST", "/api/ext/v1/get_quota", "kaze", json={})
    assert reply.data == {"limit": 1000, "usage": 1, "remaining": 999}


async def test_photo_eraser_answers_for_each_image_in_the_order_of_the_request(api: RawApi) -> None:
    link = api.emulator.host(make_image())
    links = [link, "https://unreachable.invalid/a.png", api.emulator.host(b"not an image"), link]
    reply = await api.submit_photoeraser(images=links, mask=b64(make_image()), priority=9)
    expected = {"code": 0, "msg": "", "data": {"task_id": reply.data["task_id"]}, "trace_id": reply.json["trace_id"]}
    assert reply.json == expected
    data = (await api.query_when_done("photoeraser", reply)).data
    assert data.keys() == {"status", "wait_time", "list"}
    assert (data["status"], data["wait_time"]) == ("3", "0")
    assert [item["status"] for item in data["list"]] == ["3", "4", "4", "3"]
    assert [bool(item["image_result"]) for item in data["list"]] == [True, False, False, True]
    assert all(item.keys() == {"image_result", "status", "reason"} for item in data["list"])


@pytest.mark.parametrize(
    ("elapsed", "status", "wait_time"), [(0, "1", "10"), (5, "2", "5"), (9.5, "2", "0.50"), (10, "3", "0")]
)
async def test_photo_eraser_answers_status_and_wait_time_as_text(
    api: RawApi, clock: ManualClock, elapsed: float, status: str, wait_time: str
) -> None:
    async with Emulator(restore=False, processing=10, clock=clock) as emulator:
        api = RawApi(emulator, api.session)
        link = emulator.host(make_image())
        task_id = (await api.submit_photoeraser(images=[link])).data["task_id"]
        await asyncio.wait_for(emulator.tasks[0].processed.wait(), 30)
        clock.now += elapsed
        data = (await api.query("photoeraser", task_id)).data
        assert (data["status"], data["wait_time"]) == (status, wait_time)


@pytest.mark.parametrize("mask", ["base64", "data", "link"])
async def test_photo_eraser_accepts_masks_as_base64_as_data_uri_and_as_link(api: RawApi, mask: str) -> None:
    data = make_image()
    masks = {"base64": b64(data), "data": "data:image/png;base64," + b64(data), "link": api.emulator.host(data)}
    reply = await api.submit_photoeraser(images=[api.emulator.host(data)], mask=masks[mask])
    assert (await api.query_when_done("photoeraser", reply)).data["list"][0]["status"] == "3"


@pytest.mark.parametrize("version", ["v2", "v3"])
async def test_dewatermark_answers_with_the_image_itself(api: RawApi, version: str) -> None:
    image = make_image(kind="jpeg")
    reply = await api.submit_dewatermark(version, original_preview_image=image, remove_text="false", predict_mode="old")
    assert reply.json.keys() == {"edited_image", "event_id", "session_id"}
    assert reply.json["edited_image"].keys() == {"image", "image_id", "mask", "watermark_mask"}
    assert base64.b64decode(reply.json["edited_image"]["image"]) == image


async def test_every_dewatermark_call_is_charged_including_refinements(api: RawApi) -> None:
    first = (await api.submit_dewatermark()).json
    edited = {name: base64.b64decode(first["edited_image"][name]) for name in ("image", "mask")}
    second = await api.submit_dewatermark(
        original_preview_image=edited["image"], mask_base=edited["mask"], mask_brush=make_image()
    )
    session = second.json["session_id"]
    third = await api.submit_dewatermark(session_id=session, mask_base=edited["mask"], mask_brush=make_image())
    assert third.json["session_id"] == session
    assert (await api.submit_dewatermark(session_id=session, mask_base=first["edited_image"]["mask"])).status == 200
    assert api.emulator.charged["dewatermark"] == 4


async def test_dewatermark_accepts_a_session_id_with_an_image_as_the_curl_sample_sends_it(api: RawApi) -> None:
    reply = await api.submit_dewatermark(session_id="SESSION_ID", original_preview_image=make_image(kind="jpeg"))
    assert reply.status == 200
    second = await api.submit_dewatermark(
        session_id=reply.json["session_id"], original_preview_image=make_image(kind="jpeg")
    )
    assert second.json["session_id"] == reply.json["session_id"]


async def test_credit_info_contains_the_remaining_credits(api: RawApi) -> None:
    await api.submit_dewatermark()
    reply = await api.request("GET", "/api/creditInfo", "dewatermark")
    assert reply.json == {"status": "OK", "data": {"available_credit": 999, "user_id": "emulator"}}


async def test_a_job_that_fails_because_of_its_input_is_refunded(api: RawApi) -> None:
    assert (await api.submit_visual(file=b"not an image", sync="1")).data["state"] == -7
    assert api.emulator.charged["picwish"] == 0
    assert api.emulator.refunded["picwish"] == 1
    assert api.emulator.balance["picwish"] == 1000


async def test_processing_can_be_a_function_of_the_task(api: RawApi) -> None:
    def seconds(task: EmulatedTask) -> float:
        return 100 if task.provider == "kaze" else 0

    async with Emulator(restore=False, processing=seconds) as emulator:
        api = RawApi(emulator, api.session)
        await api.submit_kaze()
        await api.submit_visual()
        assert [task.state for task in emulator.tasks] == ["processing", "succeeded"]


async def test_links_are_fetched_from_loopback_without_following_redirects(api: RawApi) -> None:
    hosted = await api.submit_visual(url=api.emulator.host(make_image(), "été 1.png"), sync="1")
    assert hosted.data["state"] == 1
    missing = await api.submit_visual(url=api.emulator.storage_url + "/lent/nothing/here.png", sync="1")
    assert missing.data["state"] == -3
    unreachable = await api.submit_visual(url="http://127.0.0.1:1/a.png", sync="1")
    assert unreachable.data["state"] == -3
    localhost = api.emulator.host(make_image()).replace("127.0.0.1", "localhost")
    assert (await api.submit_visual(url=localhost, sync="1")).data["state"] == 1
