"""What the documents do not allow is refused, in the shape of each API, and is not charged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from aiowatermark.emulator import Emulator
from tests.support.images import make_image
from tests.support.raw_api import PATHS, RawApi, Reply, b64, make_form

Submit = Callable[[RawApi], Awaitable[Reply]]

NAMES = ("gptge", "picwish", "kaze", "photoeraser", "dewatermark")
LINK = "https://example.com/a.png"
JPEG = b"\xff\xd8\xff\xe0 and nothing else"


@pytest.fixture(autouse=True)
async def nothing_charged(api: RawApi) -> AsyncIterator[None]:
    """Fail a test that is charged for a refused request."""
    yield
    assert not any(api.emulator.charged.values())


UNAUTHENTICATED: dict[str, tuple[int, Any]] = {
    "gptge": (401, {"status": 401}),
    "picwish": (401, {"status": 401}),
    "kaze": (200, {"code": 1002}),
    "photoeraser": (401, {"code": 374004}),
    "dewatermark": (401, {}),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", [None, "", "wrong", "Bearer wrong", "Basic wrong", "Basic d3Jvbmc=", "Bearer \xe9"])
async def test_a_missing_or_wrong_key_is_refused(api: RawApi, name: str, key: str | None) -> None:
    headers = {} if key is None else {"Authorization": key, "X-API-KEY": key}
    reply = await api.request("POST", PATHS[name], headers=headers)
    status, body = UNAUTHENTICATED[name]
    assert reply.status == status
    assert body.items() <= reply.json.items()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_refused(api: RawApi, name: str, method: str) -> None:
    reply = await api.request(method, PATHS[name], name)
    assert (reply.json["code"] == 1001) if name == "kaze" else (reply.status == 405)


async def test_a_get_of_erase_watermark_is_405(api: RawApi) -> None:
    assert (await api.request("GET", PATHS["dewatermark"], "dewatermark")).status == 405


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_a_wrong_content_type_is_refused(api: RawApi, name: str, content_type: str) -> None:
    reply = await api.request(
        "POST", PATHS[name], name, data=b"url=https://example.com", headers={"Content-Type": content_type}
    )
    assert_refused(reply, name)


@pytest.mark.parametrize("name", ["gptge", "picwish", "dewatermark"])
async def test_a_multipart_without_a_boundary_is_refused_where_no_sample_sends_it(api: RawApi, name: str) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    assert_refused(await api.request("POST", PATHS[name], name, data=b"sync=1", headers=headers), name)


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\n\r\n--x--\r\n", b"--x\r\nno headers--x--", b"no boundary"])
async def test_a_broken_multipart_is_refused(api: RawApi, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await api.request("POST", PATHS["picwish"], "picwish", data=body, headers=headers)
    assert_refused(reply, "picwish")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"image": 1}'])
@pytest.mark.parametrize("name", ["kaze", "photoeraser"])
async def test_a_body_that_is_not_a_valid_json_object_is_refused(api: RawApi, name: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert_refused(await api.request("POST", PATHS[name], name, data=body, headers=headers), name)


@pytest.mark.parametrize("name", ["gptge", "picwish"])
@pytest.mark.parametrize(
    "fields",
    [
        {"sync": "1"},
        {"file": b"IMAGE", "url": LINK},
        {"image_file": b"IMAGE"},
        {"image": b"IMAGE"},
        {"image_url": LINK},
        {"url": "ftp://example.com/a.png"},
        {"url": "not a link"},
        {"url": ""},
        {"url": b"\xff\xfe"},
        {"url": LINK, "sync": "2"},
        {"url": LINK, "sync": "true"},
        {"url": LINK, "callback_url": "not a link"},
    ],
)
async def test_a_form_that_the_visual_documents_do_not_allow_is_400(
    api: RawApi, name: str, fields: dict[str, str | bytes]
) -> None:
    assert_refused(await api.submit_visual(name, **fields), name)


async def test_a_field_given_twice_is_refused(api: RawApi) -> None:
    form = make_form(url=LINK)
    form.add_field("url", LINK)
    assert_refused(await api.request("POST", PATHS["gptge"], "gptge", data=form), "gptge")


VISUAL_FAILURES: list[tuple[bytes | str, int]] = [
    (b"not an image", -7),
    (b"", -7),
    (JPEG, -7),
    (b"GIF89a\x40\x00\x40\x00", -7),
    ("https://unreachable.invalid/a.png", -3),
    ("http://192.0.2.1/a.png", -3),
]


@pytest.mark.parametrize(("source", "state"), VISUAL_FAILURES)
async def test_an_input_that_picwish_cannot_use_fails_with_the_documented_state(
    api: RawApi, source: bytes | str, state: int
) -> None:
    fields: dict[str, bytes | str] = {"file": source} if isinstance(source, bytes) else {"url": source}
    reply = await api.submit_visual("picwish", sync="1", **fields)
    assert reply.status == 200
    assert reply.data["state"] == state
    assert reply.data["file"] == ""


@pytest.mark.parametrize("size", [(19, 100), (100, 19), (10_001, 20), (20, 10_001)])
async def test_an_image_outside_20_to_10000_pixels_fails_at_picwish(api: RawApi, size: tuple[int, int]) -> None:
    reply = await api.submit_visual("picwish", file=make_image(*size), sync="1")
    assert reply.data["state"] == -7


async def test_an_image_of_more_than_50_megabytes_fails_with_the_documented_state(api: RawApi) -> None:
    large = make_image() + bytes(50 << 20)
    assert (await api.submit_visual("picwish", file=large, sync="1")).data["state"] == -5
    assert (await api.submit_visual("picwish", url=api.emulator.host(large), sync="1")).data["state"] == -5


async def test_a_request_larger_than_any_valid_one_is_413(api: RawApi) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield bytes(1 << 20)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await api.request("POST", PATHS["picwish"], "picwish", data=endless(), headers=headers)
    assert reply.status == 413


INVALID_KAZE: list[dict[str, Any]] = [
    {"smear_url": LINK},
    {"image_url": LINK, "image_base64": "AAAA"},
    {"image_url": LINK, "smear_url": LINK, "smear_base64": "AAAA"},
    {"image_url": 7},
    {"image_url": "not a link"},
    {"image_base64": 7},
    {"image_base64": ""},
    {"image_base64": "xxxxxxxxxxxxxxx"},
    {"image_base64": b64(b"not an image")},
    {"image_base64": b64(JPEG)},
    {"image_url": LINK, "smear_base64": b64(b"not an image")},
    {"image_url": LINK, "priority": 1},
]


@pytest.mark.parametrize("body", INVALID_KAZE)
async def test_a_body_that_the_kaze_documents_do_not_allow_is_code_1000(api: RawApi, body: dict[str, Any]) -> None:
    assert_refused(await api.submit_kaze(**body), "kaze")


async def test_kaze_refuses_base64_with_a_data_header(api: RawApi) -> None:
    assert_refused(await api.submit_kaze(image_base64="data:image/png;base64," + b64(make_image())), "kaze")


async def test_kaze_refuses_a_smear_of_another_size(api: RawApi) -> None:
    body = {"image_base64": b64(make_image(64, 64)), "smear_base64": b64(make_image(64, 65))}
    assert_refused(await api.submit_kaze(**body), "kaze")


@pytest.mark.parametrize(
    "body",
    [
        {"images": []},
        {"images": None},
        {"images": LINK},
        {"images": [LINK] * 21},
        {"images": [LINK, "not a link"]},
        {"images": [LINK, 7]},
        {"mask": None},
        {"mask": ""},
        {"mask": 7},
        {"mask": "not a link"},
        {"mask": b64(b"not an image")},
        {"priority": None},
        {"priority": -1},
        {"priority": 10},
        {"priority": "1"},
        {"priority": 1.0},
        {"priority": True},
        {"speed": 1},
    ],
)
async def test_a_body_that_the_photo_eraser_documents_do_not_allow_is_refused(
    api: RawApi, body: dict[str, Any]
) -> None:
    assert_refused(await api.submit_photoeraser(**body), "photoeraser")


@pytest.mark.parametrize("size", [(256, 300), (300, 256), (5000, 4000), (1200, 299)])
async def test_an_image_outside_the_limits_of_photo_eraser_fails_without_its_task(
    api: RawApi, size: tuple[int, int]
) -> None:
    mask = api.emulator.host(make_image(*size))
    finished = await api.query_when_done("photoeraser", await api.submit_photoeraser(images=[mask], mask=mask))
    assert finished.data["status"] == "3"
    assert finished.data["list"][0]["status"] == "4"
    assert "pixels" in finished.data["list"][0]["reason"] or "longer" in finished.data["list"][0]["reason"]


async def test_a_mask_of_another_size_fails_at_photo_eraser(api: RawApi) -> None:
    link = api.emulator.host(make_image(300, 300))
    mask = b64(make_image(300, 301))
    finished = await api.query_when_done("photoeraser", await api.submit_photoeraser(images=[link], mask=mask))
    assert "mask" in finished.data["list"][0]["reason"]


INVALID_DEWATERMARK: list[Submit] = [
    lambda api: api.submit_dewatermark(remove_text="true"),
    lambda api: api.submit_dewatermark(original_preview_image=b"not an image"),
    lambda api: api.submit_dewatermark(original_preview_image=b""),
    lambda api: api.submit_dewatermark(original_preview_image=make_image(kind="png")),
    lambda api: api.submit_dewatermark(original_preview_image=make_image(6001, 10, "jpeg")),
    lambda api: api.submit_dewatermark(
        original_preview_image=make_image(1921, 10, "jpeg"), mask_brush=make_image(1921, 10)
    ),
    lambda api: api.submit_dewatermark(original_preview_image=make_image(kind="jpeg"), remove_text="yes"),
    lambda api: api.submit_dewatermark(original_preview_image=make_image(kind="jpeg"), predict_mode="4.0"),
    lambda api: api.submit_dewatermark(original_preview_image=make_image(kind="jpeg"), mask_brush=make_image(300, 299)),
    lambda api: api.submit_dewatermark(original_preview_image=make_image(kind="jpeg"), mask_base=make_image(300, 299)),
    lambda api: api.submit_dewatermark(original_preview_image=make_image(kind="jpeg"), mask_base="not base64"),
    lambda api: api.submit_dewatermark(original_preview_image=make_image(kind="jpeg"), mask_brush=b"not an image"),
    lambda api: api.submit_dewatermark(file=make_image(kind="jpeg")),
]


@pytest.mark.parametrize("submit", INVALID_DEWATERMARK)
async def test_a_form_that_the_dewatermark_documents_do_not_allow_is_400(api: RawApi, submit: Submit) -> None:
    assert_refused(await submit(api), "dewatermark")


async def test_an_unknown_session_is_404(api: RawApi) -> None:
    assert (await api.submit_dewatermark(session_id="unknown", mask_brush=make_image())).status == 404


async def test_only_versions_2_and_3_of_erase_watermark_exist(api: RawApi) -> None:
    assert (await api.submit_dewatermark("v4")).status == 404


@pytest.mark.parametrize("name", NAMES)
async def test_a_query_of_an_unknown_task_is_404(api: RawApi, name: str) -> None:
    reply = await api.query(name, "aaabbbccc")
    assert (reply.json["code"] == 1000) if name == "kaze" else (reply.status == 404)


async def test_kaze_refuses_a_task_id_that_is_not_a_string(api: RawApi) -> None:
    reply = await api.request("POST", "/api/ext/v1/get_task_result", "kaze", json={"task_id": 7})
    assert_refused(reply, "kaze")


async def test_photo_eraser_refuses_a_query_of_another_content_type(api: RawApi) -> None:
    reply = await api.request("GET", "/v3/pic/rw/result/x", "photoeraser", headers={"Content-Type": "text/plain"})
    assert_refused(reply, "photoeraser")


WITHOUT_CREDITS: dict[str, tuple[int, Any]] = {
    "gptge": (402, {"status": 402}),
    "picwish": (402, {"status": 402}),
    "kaze": (200, {"code": 1003}),
    "photoeraser": (200, {"code": 490505}),
    "dewatermark": (403, {}),
}


@pytest.mark.parametrize("name", NAMES)
async def test_without_credits_a_submit_is_refused(name: str, api: RawApi) -> None:
    async with Emulator(restore=False, credits=0) as emulator, aiohttp.ClientSession() as session:
        reply = await RawApi(emulator, session).submit(name)
        status, body = WITHOUT_CREDITS[name]
        assert reply.status == status
        assert body.items() <= reply.json.items()
        assert emulator.charged[name] == 0


async def test_an_unknown_path_is_404(api: RawApi) -> None:
    assert (await api.request("GET", "/unknown", "gptge")).status == 404


def assert_refused(reply: Reply, name: str) -> None:
    """Assert a parameter error: 400, or code 1000 at Kaze."""
    if name == "kaze":
        assert (reply.status, reply.json["code"]) == (200, 1000)
    else:
        assert reply.status == 400
