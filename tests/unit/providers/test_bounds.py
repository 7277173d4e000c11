"""Bounds of answers: what is out of them costs the field it is in, and not the job that was paid."""

from __future__ import annotations

import copy
import json
import pickle
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Job, Record, Snapshot, Status
from aiowatermark.media.memory import Base64Text, Bytes, Link
from aiowatermark.provider import Provider
from aiowatermark.providers._parsing import MAX_OUTPUTS
from aiowatermark.wire import LongText, Response
from tests.support.flows import drive_to_snapshot, response
from tests.support.images import make_jpeg
from tests.support.media_sources import read_media

KEY = "canary-key-1"
IMAGE = make_jpeg()
BAD_IDS: list[Any] = [
    ".",
    "..",
    " . ",
    "A" * 201,
    "A" * 100_000,
    "a\nb",
    "a\x1b[2J",
    "a\u202eb",
    "\ud800",
    "",
    "  ",
    None,
    True,
    [],
    {"a": 1},
]
GOOD_IDS: list[Any] = ["t", "A" * 200, "a/b", "../x", "任务", 7, 12345678901234567890]


def submit(provider: Provider, payload: Any, *, link: bool = False, **options: Any) -> Snapshot:
    media = Link("https://images.example/a.png") if link else Bytes(IMAGE)
    job = Job((media,), mask=Bytes(IMAGE), options=provider.resolve_options(options))
    return drive_to_snapshot(provider.submit(job, None), response(payload))


def query(provider: Provider, payload: Any, task_id: str = "task-1", inputs: tuple[str, ...] = ()) -> Snapshot:
    record = Record("order-1", provider.name, Snapshot(task_id, Status.QUEUED), inputs=inputs)
    return drive_to_snapshot(provider.query(record), response(payload))


SUBMISSIONS: list[tuple[str, Callable[[Any], Snapshot]]] = [
    ("gptge", lambda value: submit(aw.GptGe(KEY), {"status": 200, "data": {"task_id": value}})),
    ("kaze", lambda value: submit(aw.Kaze(KEY), {"code": 0, "data": {"task_id": value}})),
    (
        "photoeraser",
        lambda value: submit(aw.PhotoEraser(KEY, KEY), {"code": 0, "data": {"task_id": value}}, link=True),
    ),
]


@pytest.mark.parametrize("submit_with", [each for _, each in SUBMISSIONS], ids=[name for name, _ in SUBMISSIONS])
def test_a_task_id_is_1_to_200_printable_characters(submit_with: Callable[[Any], Snapshot]) -> None:
    for value in GOOD_IDS:
        assert submit_with(value).task_id == str(value)
    for value in BAD_IDS:
        with pytest.raises(aw.UnexpectedAnswer):
            submit_with(value)


@pytest.mark.parametrize("value", BAD_IDS)
def test_a_result_in_the_answer_is_kept_if_its_task_id_is_bad(value: Any) -> None:
    data = {"task_id": value, "state": 1, "file": "https://x.example/a.png"}
    snapshot = submit(aw.GptGe(KEY), {"status": 200, "data": data}, sync=True)
    assert snapshot.status is Status.SUCCEEDED
    assert snapshot.task_id is None
    assert snapshot.outputs[0].media is not None


@pytest.mark.parametrize("value", BAD_IDS)
def test_an_image_in_the_answer_is_kept_if_its_ids_are_bad(value: Any) -> None:
    edited = {"image": b64encode(IMAGE).decode(), "mask": {"not": "text"}}
    snapshot = submit(
        aw.Dewatermark(KEY), {"edited_image": edited, "session_id": value, "event_id": value}, remove_text=True
    )
    assert snapshot.status is Status.SUCCEEDED
    assert (snapshot.task_id, snapshot.session) == (None, None)


async def test_an_image_is_read_in_every_dialect_of_base64() -> None:
    data = bytes(range(256)) * 3 + b"\xfb\xff"
    text = b64encode(data).decode()
    url_safe = text.replace("+", "-").replace("/", "_")
    lines = "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    for each in (
        text,
        text.rstrip("="),
        url_safe,
        url_safe.rstrip("="),
        lines,
        f" {text}\n",
        f"DATA:a/b;base64,{text}",
    ):
        snapshot = submit(aw.Dewatermark(KEY), {"edited_image": {"image": each}})
        media = snapshot.outputs[0].media
        assert media is not None
        assert await read_media(media) == data


async def test_a_long_image_is_kept_as_bytes_and_a_damaged_one_fails_when_it_is_read() -> None:
    for data, expected in ((IMAGE, Bytes), (None, Base64Text)):
        reply = Response(200, {}, b'{"edited_image": {"image": "@"}}', texts={"@": LongText(9, data)})
        provider = aw.Dewatermark(KEY)
        flow = provider.submit(Job((Bytes(IMAGE),), options=provider.resolve_options({})), None)
        media = drive_to_snapshot(flow, reply).outputs[0].media
        assert isinstance(media, expected)
        if data is None:
            with pytest.raises(aw.TransferFailed):
                await read_media(media)
        else:
            assert await read_media(media) == IMAGE


def test_further_results_than_a_thousand_are_left_out() -> None:
    images = [{"url": f"https://x.example/{number}"} for number in range(MAX_OUTPUTS + 5)]
    assert len(query(aw.Kaze(KEY), {"data": {"status": "success", "images": images}}).outputs) == MAX_OUTPUTS
    items = [{"image_result": f"https://x.example/{number}", "status": 3} for number in range(MAX_OUTPUTS + 5)]
    snapshot = query(aw.PhotoEraser(KEY, KEY), {"code": 0, "data": {"status": 3, "list": items}})
    assert len(snapshot.outputs) == MAX_OUTPUTS


@pytest.mark.parametrize("item", [None, 7, "text", [], {"url": 7}, {"image_result": {}}])
def test_a_damaged_result_costs_no_other_result(item: Any) -> None:
    images = [item, {"url": "https://x.example/a"}]
    assert len(query(aw.Kaze(KEY), {"data": {"status": "success", "images": images}}).outputs) == 1
    items = [item, {"image_result": "https://x.example/a", "status": 3}]
    snapshot = query(aw.PhotoEraser(KEY, KEY), {"code": 0, "data": {"status": 3, "list": items}}, inputs=("a", "b"))
    assert snapshot.outputs[0].error is not None
    assert snapshot.outputs[1].media is not None


@pytest.mark.parametrize(
    ("wait", "seconds"), [(5, 5.0), ("7.5", 7.5), (1e300, 3600.0), ("9" * 400, 3600.0), (-1, None), ("soon", None)]
)
def test_a_wait_is_at_most_an_hour(wait: Any, seconds: float | None) -> None:
    snapshot = query(aw.PhotoEraser(KEY, KEY), {"code": 0, "data": {"status": 1, "wait_time": wait}})
    assert snapshot.retry_after == seconds


@pytest.mark.parametrize("reason", ["\x1b[2J\nERROR https://b.example/a?Signature=canary ", {"a": 1}, 7, True, None])
def test_a_reason_is_one_clean_line(reason: Any) -> None:
    text = reason + "A" * 100_000 if isinstance(reason, str) else reason
    items = [{"status": 4, "reason": text}]
    task = {"code": 0, "data": {"status": 4, "list": items}}
    snapshots = [
        query(aw.Kaze(KEY), {"data": {"status": "failed", "err_msg": text}}),
        query(aw.PhotoEraser(KEY, KEY), task),
    ]
    shown = [each.reason or "" for each in snapshots] + [str(snapshots[1].outputs[0].error)]
    for line in shown:
        assert line
        assert line.isprintable()
        assert len(line) <= 520
        assert "canary" not in line


@pytest.mark.parametrize("state", [1 << 80, -(1 << 80), "9" * 5000, 1e308, -5.5])
def test_a_state_that_is_no_number_of_a_status_ends_in_an_error_or_a_status(state: Any) -> None:
    try:
        query(aw.GptGe(KEY), {"status": 200, "data": {"state": state}})
    except aw.UnexpectedAnswer as error:
        assert len(str(error)) < 500


def test_an_error_about_thousands_of_wrong_fields_is_short() -> None:
    payload = {"data": {"status": "success", "images": {str(number): number for number in range(5000)}}}
    with pytest.raises(aw.UnexpectedAnswer) as caught:
        query(aw.Kaze(KEY), payload)
    assert len(caught.value.message) < 600


# providers


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.gpt.ge", "https://api.gpt.ge"),
        ("https://api.gpt.ge/", "https://api.gpt.ge"),
        ("https://api.gpt.ge//", "https://api.gpt.ge"),
        ("https://api.gpt.ge/v1", "https://api.gpt.ge"),
        ("https://api.gpt.ge/v1/", "https://api.gpt.ge"),
        (" https://API.gpt.ge:443/ ", "https://api.gpt.ge"),
        ("https://gateway.example/gptge/v1/", "https://gateway.example/gptge"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_a_base_url_is_normalized(given: str, used: str) -> None:
    assert aw.GptGe(KEY, base_url=given).base_url == used
    assert aw.GptGe(KEY, base_url=given).account == aw.GptGe(KEY, base_url=used).account


@pytest.mark.parametrize("path", ["/task", "/task/pic/watermark_auto", "/v2", "/v1/task", "/api/"])
@pytest.mark.parametrize("origin", [aw.PicWish.default_base_url, aw.PicWish.CHINA])
def test_a_path_at_the_vendors_own_host_is_refused_with_the_right_base_url(origin: str, path: str) -> None:
    with pytest.raises(aw.InvalidInput, match=f"must be {origin}:"):
        aw.PicWish(KEY, base_url=origin + path)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://x.example:99999",
        "https://x.example:abc",
        "https://a b.example",
        "https://bücher.example",
        "https://[",
        "",
    ],
)
def test_a_base_url_that_cannot_be_used_is_refused_with_an_example(base_url: str) -> None:
    with pytest.raises(aw.InvalidInput, match=r"such as https://api\.gpt\.ge"):
        aw.GptGe(KEY, base_url=base_url)


@pytest.mark.parametrize("provider", [aw.GptGe(KEY), aw.PhotoEraser(KEY, KEY), aw.Dewatermark(KEY)])
def test_a_provider_refuses_to_be_pickled_and_says_what_to_do(provider: Provider) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"from_env\(\)") as caught:
            pickle.dumps({"provider": provider}, protocol)
        assert KEY not in str(caught.value)
    assert copy.copy(provider) is copy.deepcopy(provider) is provider
    assert json.dumps(repr(provider)).count(KEY) == 0
