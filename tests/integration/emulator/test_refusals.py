"""What the documents do not allow is refused, in the shape of each API, and costs nothing."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from aiowatermark.emulator import Emulator

if TYPE_CHECKING:
    from .conftest import Calls, Reply

    Ask = Callable[[Calls], Awaitable[Reply]]

NAMES = ("gptge", "picwish", "kaze", "photoeraser", "dewatermark")
LINK = "https://example.com/a.png"
JPEG = b"\xff\xd8\xff\xe0 but then nothing"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(autouse=True)
async def nothing_charged(calls: Calls) -> AsyncIterator[None]:
    yield
    assert not any(calls.emulator.charged.values())


KEYLESS: dict[str, tuple[int, Any]] = {
    "gptge": (401, {"status": 401}),
    "picwish": (401, {"status": 401}),
    "kaze": (200, {"code": 1002}),
    "photoeraser": (401, {"code": 401}),
    "dewatermark": (401, {}),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", [None, "", "wrong", "Bearer wrong", "Basic wrong", "Basic d3Jvbmc=", "Bearer \xe9"])
async def test_a_missing_or_wrong_key_is_refused(calls: Calls, name: str, key: str | None) -> None:
    headers = {} if key is None else {"Authorization": key, "X-API-KEY": key}
    reply = await calls.ask("POST", calls.paths[name], headers=headers)
    status, body = KEYLESS[name]
    assert reply.status == status
    assert body.items() <= reply.json.items()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_refused(calls: Calls, name: str, method: str) -> None:
    reply = await calls.ask(method, calls.paths[name], name)
    assert (reply.json["code"] == 1001) if name == "kaze" else (reply.status == 405)


async def test_a_get_of_erase_watermark_is_405_as_in_the_documents_first_sample(calls: Calls) -> None:
    assert (await calls.ask("GET", calls.paths["dewatermark"], "dewatermark")).status == 405


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_a_wrong_content_type_is_refused(calls: Calls, name: str, kind: str) -> None:
    reply = await calls.ask(
        "POST", calls.paths[name], name, data=b"url=https://example.com", headers={"Content-Type": kind}
    )
    assert_refused(reply, name)


@pytest.mark.parametrize("name", ["gptge", "picwish", "dewatermark"])
async def test_a_multipart_without_a_boundary_is_refused_where_no_sample_sends_it(calls: Calls, name: str) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    assert_refused(await calls.ask("POST", calls.paths[name], name, data=b"sync=1", headers=headers), name)


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\n\r\n--x--\r\n", b"--x\r\nno head--x--", b"no boundary"])
async def test_a_broken_multipart_is_refused(calls: Calls, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await calls.ask("POST", calls.paths["picwish"], "picwish", data=body, headers=headers)
    assert_refused(reply, "picwish")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"image": 1}'])
@pytest.mark.parametrize("name", ["kaze", "photoeraser"])
async def test_a_body_that_is_no_fitting_json_object_is_refused(calls: Calls, name: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert_refused(await calls.ask("POST", calls.paths[name], name, data=body, headers=headers), name)


@pytest.mark.parametrize("name", ["gptge", "picwish"])
@pytest.mark.parametrize(
    "fields",
    [
        {"sync": "1"},
        {"file": b"PICTURE", "url": LINK},
        {"image_file": b"PICTURE"},
        {"image": b"PICTURE"},
        {"image_url": LINK},
        {"url": "ftp://example.com/a.png"},
        {"url": "no link"},
        {"url": ""},
        {"url": b"\xff\xfe"},
        {"url": LINK, "sync": "2"},
        {"url": LINK, "sync": "true"},
        {"url": LINK, "callback_url": "nowhere"},
    ],
)
async def test_a_form_that_the_visual_documents_do_not_allow_is_400(
    calls: Calls, name: str, fields: dict[str, str | bytes]
) -> None:
    assert_refused(await calls.visual(name, **fields), name)


async def test_a_field_given_twice_is_refused(calls: Calls) -> None:
    form = calls.form(url=LINK)
    form.add_field("url", LINK)
    assert_refused(await calls.ask("POST", calls.paths["gptge"], "gptge", data=form), "gptge")


VISUAL_FAILURES: list[tuple[bytes | str, int]] = [
    (b"no picture", -7),
    (b"", -7),
    (JPEG, -7),
    (b"GIF89a\x40\x00\x40\x00", -7),
    ("https://nowhere.invalid/a.png", -3),
    ("http://192.0.2.1/a.png", -3),
]


@pytest.mark.parametrize(("source", "state"), VISUAL_FAILURES)
async def test_a_picture_that_picwish_cannot_take_fails_with_its_state(
    calls: Calls, source: bytes | str, state: int
) -> None:
    fields: dict[str, bytes | str] = {"file": source} if isinstance(source, bytes) else {"url": source}
    reply = await calls.visual("picwish", sync="1", **fields)
    assert reply.status == 200
    assert reply.data["state"] == state
    assert reply.data["file"] == ""


@pytest.mark.parametrize("size", [(19, 100), (100, 19), (10_001, 20), (20, 10_001)])
async def test_a_picture_outside_20_to_10000_pixels_fails_at_picwish(calls: Calls, size: tuple[int, int]) -> None:
    reply = await calls.visual("picwish", file=calls.picture(*size), sync="1")
    assert reply.data["state"] == -7


async def test_a_picture_of_more_than_50_megabytes_fails_with_its_state(calls: Calls) -> None:
    large = calls.picture() + bytes(50 << 20)
    assert (await calls.visual("picwish", file=large, sync="1")).data["state"] == -5
    assert (await calls.visual("picwish", url=calls.emulator.host(large), sync="1")).data["state"] == -5


async def test_a_request_beyond_every_limit_is_413(calls: Calls) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield bytes(1 << 20)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await calls.ask("POST", calls.paths["picwish"], "picwish", data=endless(), headers=headers)
    assert reply.status == 413


KAZE_WRONG: list[dict[str, Any]] = [
    {"smear_url": LINK},
    {"image_url": LINK, "image_base64": "AAAA"},
    {"image_url": LINK, "smear_url": LINK, "smear_base64": "AAAA"},
    {"image_url": 7},
    {"image_url": "nowhere"},
    {"image_base64": 7},
    {"image_base64": ""},
    {"image_base64": "xxxxxxxxxxxxxxx"},
    {"image_base64": b64(b"no picture")},
    {"image_base64": b64(JPEG)},
    {"image_url": LINK, "smear_base64": b64(b"no picture")},
    {"image_url": LINK, "priority": 1},
]


@pytest.mark.parametrize("body", KAZE_WRONG)
async def test_a_body_that_kaze_documents_do_not_allow_is_code_1000(calls: Calls, body: dict[str, Any]) -> None:
    assert_refused(await calls.kaze(**body), "kaze")


async def test_kaze_refuses_base64_with_a_data_header(calls: Calls) -> None:
    assert_refused(await calls.kaze(image_base64="data:image/png;base64," + b64(calls.picture())), "kaze")


async def test_kaze_refuses_a_smear_of_another_size(calls: Calls) -> None:
    body = {"image_base64": b64(calls.picture(64, 64)), "smear_base64": b64(calls.picture(64, 65))}
    assert_refused(await calls.kaze(**body), "kaze")


@pytest.mark.parametrize(
    "body",
    [
        {"images": []},
        {"images": None},
        {"images": LINK},
        {"images": [LINK] * 21},
        {"images": [LINK, "nowhere"]},
        {"images": [LINK, 7]},
        {"mask": None},
        {"mask": ""},
        {"mask": 7},
        {"mask": "nowhere"},
        {"mask": b64(b"no picture")},
        {"priority": None},
        {"priority": -1},
        {"priority": 10},
        {"priority": "1"},
        {"priority": 1.0},
        {"priority": True},
        {"speed": 1},
    ],
)
async def test_a_body_that_photo_eraser_documents_do_not_allow_is_refused(calls: Calls, body: dict[str, Any]) -> None:
    assert_refused(await calls.eraser(**body), "photoeraser")


@pytest.mark.parametrize("size", [(256, 300), (300, 256), (5000, 4000), (1200, 299)])
async def test_a_picture_beyond_photo_eraser_limits_fails_alone(calls: Calls, size: tuple[int, int]) -> None:
    mask = calls.emulator.host(calls.picture(*size))
    done = await calls.finished("photoeraser", await calls.eraser(images=[mask], mask=mask))
    assert done.data["status"] == "3"
    assert done.data["list"][0]["status"] == "4"
    assert "pixels" in done.data["list"][0]["reason"] or "longer" in done.data["list"][0]["reason"]


async def test_a_mask_of_another_size_fails_at_photo_eraser(calls: Calls) -> None:
    link = calls.emulator.host(calls.picture(300, 300))
    mask = b64(calls.picture(300, 301))
    done = await calls.finished("photoeraser", await calls.eraser(images=[link], mask=mask))
    assert "mask" in done.data["list"][0]["reason"]


ERASE_WRONG: list[Ask] = [
    lambda calls: calls.erase(remove_text="true"),
    lambda calls: calls.erase(original_preview_image=b"no picture"),
    lambda calls: calls.erase(original_preview_image=b""),
    lambda calls: calls.erase(original_preview_image=calls.picture(kind="png")),
    lambda calls: calls.erase(original_preview_image=calls.picture(6001, 10, "jpg")),
    lambda calls: calls.erase(
        original_preview_image=calls.picture(1921, 10, "jpg"), mask_brush=calls.picture(1921, 10)
    ),
    lambda calls: calls.erase(original_preview_image=calls.picture(kind="jpg"), remove_text="yes"),
    lambda calls: calls.erase(original_preview_image=calls.picture(kind="jpg"), predict_mode="4.0"),
    lambda calls: calls.erase(original_preview_image=calls.picture(kind="jpg"), mask_brush=calls.picture(300, 299)),
    lambda calls: calls.erase(original_preview_image=calls.picture(kind="jpg"), mask_base=calls.picture(300, 299)),
    lambda calls: calls.erase(original_preview_image=calls.picture(kind="jpg"), mask_base="no base64"),
    lambda calls: calls.erase(original_preview_image=calls.picture(kind="jpg"), mask_brush=b"no picture"),
    lambda calls: calls.erase(file=calls.picture(kind="jpg")),
]


@pytest.mark.parametrize("ask", ERASE_WRONG)
async def test_a_form_that_dewatermark_documents_do_not_allow_is_400(calls: Calls, ask: Ask) -> None:
    assert_refused(await ask(calls), "dewatermark")


async def test_an_unknown_session_is_404(calls: Calls) -> None:
    assert (await calls.erase(session_id="unknown", mask_brush=calls.picture())).status == 404


async def test_only_versions_2_and_3_of_erase_watermark_exist(calls: Calls) -> None:
    assert (await calls.erase("v4")).status == 404


@pytest.mark.parametrize("name", NAMES)
async def test_a_query_of_an_unknown_task_is_404(calls: Calls, name: str) -> None:
    reply = await calls.query(name, "aaabbbccc")
    assert (reply.json["code"] == 1000) if name == "kaze" else (reply.status == 404)


async def test_kaze_refuses_a_task_id_that_is_no_text(calls: Calls) -> None:
    reply = await calls.ask("POST", "/api/ext/v1/get_task_result", "kaze", json={"task_id": 7})
    assert_refused(reply, "kaze")


async def test_photo_eraser_refuses_a_query_of_another_content_type(calls: Calls) -> None:
    reply = await calls.ask("GET", "/v3/pic/rw/result/x", "photoeraser", headers={"Content-Type": "text/plain"})
    assert_refused(reply, "photoeraser")


POOR: dict[str, tuple[int, Any]] = {
    "gptge": (402, {"status": 402}),
    "picwish": (402, {"status": 402}),
    "kaze": (200, {"code": 1003}),
    "photoeraser": (200, {"code": 490027}),
    "dewatermark": (403, {}),
}


@pytest.mark.parametrize("name", NAMES)
async def test_without_credits_a_submit_is_refused(name: str, calls: Calls) -> None:
    async with Emulator(restore=False, credits=0) as emulator, aiohttp.ClientSession() as session:
        reply = await type(calls)(emulator, session).submit(name)
        status, body = POOR[name]
        assert reply.status == status
        assert body.items() <= reply.json.items()
        assert emulator.charged[name] == 0


async def test_an_unknown_path_is_404(calls: Calls) -> None:
    assert (await calls.ask("GET", "/nowhere", "gptge")).status == 404


def assert_refused(reply: Reply, name: str) -> None:
    """400 for a parameter, and at Kaze code 1000."""
    if name == "kaze":
        assert (reply.status, reply.json["code"]) == (200, 1000)
    else:
        assert reply.status == 400
