"""The provider's last answer and its name for a request are there to look at, without secrets and within bounds."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.redaction import clean_id, redacted_json
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from aiowatermark.wire import KeptAnswer, Response
from tests.support.picwish import ACCEPTED, LINK, PENDING, scripted_client

VIRTUAL_CLOCK = True
KEY = "canary-1"
NAMED = {"x-request-id": "req_7Fh3kLmN8pQrStUvWx"}
DATA: dict[str, Any] = {
    "task_id": "task-1",
    "state": 1,
    "file": "https://x.example/a?sign=canary-signature",
    "model": "wm-3",
    "echo": f"key {KEY}",
    "token": "canary-token",
}
FINISHED = json_response(200, NAMED, status=200, data=DATA)


async def test_a_result_has_the_last_answer_without_secrets_and_the_id_of_its_request() -> None:
    transport = ScriptedTransport(submissions=[ACCEPTED], queries=[PENDING, FINISHED])
    async with scripted_client(transport) as client:
        result = await client.remove(LINK)
        again = await client.remove(LINK, key=result.key)
    data = result.raw["data"]
    assert (data["model"], data["state"], data["file"]) == ("wm-3", 1, "https://x.example/a?…")
    assert "canary" not in json.dumps(result.raw)
    assert "canary" not in repr(result)
    assert result.request_id == NAMED["x-request-id"]
    assert (again.raw, again.request_id) == (None, None)


async def test_a_result_in_the_answer_to_the_submission_has_it_too() -> None:
    transport = ScriptedTransport(submissions=[FINISHED])
    async with scripted_client(transport) as client:
        result = await client.remove(LINK, sync=True)
    assert result.raw["data"]["model"] == "wm-3"
    assert result.request_id == NAMED["x-request-id"]


@pytest.mark.parametrize(
    ("submissions", "queries", "kind"),
    [
        ([json_response(402, NAMED, message="no credits")], [PENDING], aw.InsufficientCredits),
        ([json_response(500, NAMED)], [PENDING], aw.SubmissionInDoubt),
        ([json_response(200, NAMED, status=200)], [PENDING], aw.SubmissionInDoubt),
        ([ACCEPTED], [json_response(401, NAMED)], aw.AuthenticationError),
        ([ACCEPTED], [json_response(400, NAMED)], aw.WatermarkError),
        ([ACCEPTED], [json_response(500, NAMED)], aw.DeadlineExceeded),
        ([ACCEPTED], [json_response(200, NAMED, data={"state": -1})], aw.JobFailed),
    ],
)
async def test_an_error_about_an_answer_has_the_id_of_its_request(
    submissions: list[Response], queries: list[Response], kind: type[aw.WatermarkError]
) -> None:
    async with scripted_client(ScriptedTransport(submissions, queries), deadline=30.0) as client:
        with pytest.raises(kind) as raised:
            await client.remove(LINK)
    assert raised.value.request_id == NAMED["x-request-id"]
    assert f"request {NAMED['x-request-id']}" in str(raised.value)
    assert copy.copy(raised.value).request_id == NAMED["x-request-id"]
    assert pickle.loads(pickle.dumps(raised.value)).request_id == NAMED["x-request-id"]  # noqa: S301


async def test_an_error_about_no_answer_has_none_of_an_earlier_request() -> None:
    upload = json_response(200, NAMED, task_id="v-1", upload_signed_url="https://storage.example/put")
    transport = ScriptedTransport(
        submissions=[connection_lost(sent=False)], queries=[upload, json_response(200, NAMED)]
    )
    provider = aw.Dewatermark("canary-3", requests_per_second=None)
    async with scripted_client(transport, provider=provider, deadline=30.0) as client:
        with pytest.raises(aw.ProviderUnavailable) as raised:
            await client.remove(b"\0\0\0\x18ftypmp42" + bytes(2000))
    assert raised.value.request_id is None


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"x-request-id": "a"}, {"request_id": "b"}, "a"),
        ({"x-trace-id": "a"}, {}, "a"),
        ({"trace_id": "a"}, {}, "a"),
        ({"x-request-id": ""}, {"trace_id": "b"}, "b"),
        ({}, {"request_id": 17}, "17"),
        ({}, {"request_id": {"a": 1}}, None),
        ({}, [], None),
        ({"x-request-id": "\x1b[2J\r\nSet-Cookie: x"}, {}, "2JSet-Cookie:x"),
        ({"x-request-id": "x" * 5000}, {}, "x" * 100),
        ({"x-request-id": "\x1b"}, {}, None),
    ],
)
def test_the_id_of_a_request_is_a_short_word(headers: dict[str, str], body: Any, expected: str | None) -> None:
    assert Response(200, headers, json.dumps(body).encode()).request_id == expected


def test_a_key_that_a_provider_gives_as_the_id_of_a_request_is_hidden() -> None:
    provider = aw.Kaze("canary0123456789abcdef")
    assert "canary" not in clean_id("id-canary0123456789abcdef")
    assert clean_id("req_7Fh3kLmN8pQrStUvWx") == "req_7Fh3kLmN8pQrStUvWx"
    del provider


@pytest.mark.parametrize(
    ("body", "raw"),
    [
        (b'{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        (b"<html>gone\r\n\x1b[2J</html>", "<html>gone \ufffd[2J</html>"),
        (b"", None),
        (b'{"key": "abc", "n": {"secret": "x"}}', {"key": "…", "n": {"secret": "…"}}),
        (b'{"a\\u001b": "b\\nc"}', {"a\ufffd": "b c"}),
        (b'"text"', "text"),
    ],
)
def test_an_answer_is_shown_as_json_values_or_as_a_text(body: bytes, raw: object) -> None:
    assert redacted_json(body) == raw


def test_a_raw_answer_is_bounded() -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert KeptAnswer.of(Response(200, {}, deep)).raw is None
    assert len(redacted_json(json.dumps({"a": list(range(99)), "b": "x y " * 9000}).encode())["a"]) == 20
    assert len(redacted_json(json.dumps({"b": "x y " * 9000}).encode())["b"]) <= 2000


async def test_a_job_that_waits_keeps_no_answer() -> None:
    transport = ScriptedTransport(submissions=[ACCEPTED], queries=[PENDING])
    async with scripted_client(transport, drain=0.0) as client:
        handle = await client.submit(LINK, key="waiting")
        assert client._open_engine.jobs["waiting"].answer is None
        assert handle.snapshot.status is aw.Status.QUEUED
