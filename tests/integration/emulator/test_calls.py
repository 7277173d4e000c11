"""The calls of gpt.ge and PicWish beside the automatic one, and Dewatermark's PRO call, by plain HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import cv2
import numpy as np
import pytest

from aiowatermark.emulator.restoration.pixels import decode
from tests.support.images import make_image, make_mask
from tests.support.raw_api import RawApi, Reply, b64, make_form

ADVANCED = "/api/tasks/visual/advanced/watermark-remove"
INPAINT = {"picwish": "/api/tasks/visual/inpaint", "gptge": "/task/pic/watermark"}
QUERY = {"picwish": "/api/tasks/visual/inpaint", "gptge": "/task"}
LINK = "https://example.com/a.png"
BOX = {"x": 1, "y": 2, "width": 3, "height": 4}


async def post(api: RawApi, provider: str, path: str, **fields: str | bytes) -> Reply:
    return await api.request("POST", path, provider, data=make_form(**fields))


async def test_the_better_remover_answers_in_image_url_with_its_price(api: RawApi) -> None:
    data = (await post(api, "picwish", ADVANCED, image_file=make_image(), sync="1")).data
    assert data["image_url"].startswith(api.emulator.storage_url)
    assert "file" not in data
    assert (data["use_point"], api.emulator.balance["picwish"], api.emulator.charged["picwish"]) == (2, 998, 1)


@pytest.mark.parametrize("name", INPAINT)
async def test_a_task_is_known_only_below_the_path_that_made_it(api: RawApi, name: str) -> None:
    reply = await post(api, name, INPAINT[name], image_url=LINK, mask_url=LINK)
    task_id = reply.data["task_id"]
    await api.emulator.tasks[0].done()
    found = await api.request("GET", f"{QUERY[name]}/{task_id}", name)
    assert found.data["image"].startswith(api.emulator.storage_url)
    if name == "picwish":
        for path in ("/api/tasks/visual/external/watermark-remove", ADVANCED):
            assert (await api.request("GET", f"{path}/{task_id}", name)).status == 404


async def test_the_credits_of_picwish_are_a_list_of_packages(api: RawApi) -> None:
    await api.submit_visual("picwish")
    reply = await api.request("GET", "/api/customers/package-credits", "picwish")
    assert sum(package["remaining_credits"] for package in reply.data) == 999
    assert (await api.request("GET", "/api/customers/package-credits")).status == 401


@pytest.fixture
async def refusing_api(api: RawApi) -> AsyncIterator[RawApi]:
    """An emulator that may charge nothing in this test."""
    yield api
    assert not any(api.emulator.charged.values())


@pytest.mark.parametrize("name", INPAINT)
@pytest.mark.parametrize(
    "fields",
    [
        {"image_file": b"IMAGE"},
        {"mask_file": b"MASK"},
        {"image_file": b"IMAGE", "image_url": LINK, "mask_url": LINK},
        {"image_url": LINK, "mask_file": b"MASK", "mask_url": LINK},
        {"image_url": LINK, "mask_url": LINK, "rectangles": json.dumps([BOX])},
        {"image_url": LINK, "mask_file": b"MASK", "rectangles": json.dumps([BOX])},
        {"file": b"IMAGE", "mask_file": b"MASK"},
        {"url": LINK, "mask_url": LINK},
        {"image_url": LINK, "mask_url": "not a link"},
        {"image_url": LINK, "mask_url": LINK, "sync": "2"},
        *(
            {"image_url": LINK, "rectangles": text}
            for text in [
                *("", "{}", "[]", "[[1,2,3,4]]", "null", "[" * 50_000, json.dumps([BOX] * 51)),
                *(json.dumps([{**BOX, **change}]) for change in ({"x": -1}, {"width": 0}, {"y": 1.5}, {"x": True})),
                *(
                    json.dumps([each])
                    for each in ({"x": 1, "y": 2, "width": 3}, {**BOX, "label": 1}, {**BOX, "x": "1"})
                ),
            ]
        ),
    ],
)
async def test_a_form_that_the_mask_calls_do_not_document_is_400(
    refusing_api: RawApi, name: str, fields: dict[str, str | bytes]
) -> None:
    assert (await post(refusing_api, name, INPAINT[name], **fields)).status == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"file": b"IMAGE"},
        {"image_url": LINK, "mask_url": LINK},
        {"image_url": LINK, "rectangles": json.dumps([BOX])},
        {"image_url": LINK, "callback_url": LINK},
    ],
)
async def test_a_form_that_the_better_remover_does_not_take_is_400(
    refusing_api: RawApi, fields: dict[str, str | bytes]
) -> None:
    assert (await post(refusing_api, "picwish", ADVANCED, **fields)).status == 400


async def test_the_mask_call_of_picwish_takes_no_callback(refusing_api: RawApi) -> None:
    reply = await post(refusing_api, "picwish", INPAINT["picwish"], image_url=LINK, mask_url=LINK, callback_url=LINK)
    assert reply.status == 400


@pytest.mark.parametrize("name", INPAINT)
async def test_a_rectangle_outside_the_image_or_a_mask_of_another_size_fails_the_task(api: RawApi, name: str) -> None:
    outside = json.dumps([{**BOX, "x": 298}])
    fields: list[dict[str, str | bytes]] = [{"rectangles": outside}, {"mask_file": make_mask(300, 299)}]
    for each in fields:
        reply = await post(api, name, INPAINT[name], image_file=make_image(), sync="1", **each)
        assert reply.data["state"] == -7


@pytest.mark.parametrize("name", INPAINT)
async def test_rectangles_are_restored_like_a_mask_that_is_white_there(restoring_api: RawApi, name: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), np.uint8)
    image = cv2.imencode(".png", noise)[1].tobytes()
    white = np.zeros((60, 80), np.uint8)
    white[20:40, 10:40] = 255
    mask = cv2.imencode(".png", white)[1].tobytes()
    rectangles = json.dumps([{"x": 10, "y": 20, "width": 30, "height": 20}])
    results = []
    masks: list[dict[str, str | bytes]] = [{"mask_file": mask}, {"rectangles": rectangles}]
    for each in masks:
        reply = await post(restoring_api, name, INPAINT[name], image_file=image, sync="1", **each)
        results.append((await restoring_api.request("GET", reply.data["image"])).body)
    assert results[0] == results[1]
    changed = np.any(decode(results[0]) != noise, axis=2)
    assert changed[21:39, 11:39].mean() > 0.9
    assert not changed[:18].any()
    assert not changed[:, 43:].any()


# Dewatermark


async def test_the_pro_call_answers_without_masks_and_costs_3_credits(api: RawApi) -> None:
    image = make_image(kind="jpeg")
    path = "/api/object_removal/v1/erase_watermark_pro"
    reply = await post(api, "dewatermark", path, original_preview_image=image)
    assert reply.json["edited_image"].keys() == {"image", "image_id"}
    assert reply.json["edited_image"]["image"] == b64(image)
    assert (api.emulator.balance["dewatermark"], api.emulator.charged["dewatermark"]) == (997, 1)
    refined = await api.submit_dewatermark(session_id=reply.json["session_id"], mask_brush=make_mask(300, 300))
    assert refined.status == 200
    for fields in ({"session_id": "s"}, {"original_preview_image": image, "mask_brush": make_mask(300, 300)}):
        assert (await post(api, "dewatermark", path, **fields)).status == 400


@pytest.mark.parametrize(("version", "mode", "status"), [("v2", "4.0", 400), ("v3", "4.0", 200), ("v3", "2.0", 200)])
async def test_each_version_has_its_modes(api: RawApi, version: str, mode: str, status: int) -> None:
    image = make_image(kind="jpeg")
    reply = await api.submit_dewatermark(version, original_preview_image=image, predict_mode=mode)
    assert reply.status == status


async def test_photo_eraser_answers_with_a_trace_id_each_time(api: RawApi) -> None:
    accepted = await api.submit_photoeraser()
    refused = await api.submit_photoeraser(priority=10)
    queried = await api.query_when_done("photoeraser", accepted)
    assert len({reply.json["trace_id"] for reply in (accepted, refused, queried)}) == 3
    assert (refused.status, refused.json["code"]) == (400, 490000)
