"""gpt.ge and PicWish, which share an API: requests, answers, refusals and callbacks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from aiowatermark.errors import (
    AuthenticationError,
    InsufficientCredits,
    InvalidInput,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    UnexpectedAnswer,
    WatermarkError,
)
from aiowatermark.jobs import Job, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes, Link
from aiowatermark.provider import Provider
from aiowatermark.providers.gptge import GptGe
from aiowatermark.providers.picwish import PicWish
from aiowatermark.wire import Delivery, Multipart, Response
from tests.support.flows import drive_to_snapshot, first_request, response

PROVIDERS = (GptGe("canary-1"), PicWish("canary-2"))
RECORD = Record("key", "any", Snapshot("t-1", Status.QUEUED))
FILE = "https://results.example.com/out.jpg?Signature=a%2Bb"


def submit(provider: Provider, reply: Response, **options: Any) -> Snapshot:
    return drive_to_snapshot(provider.submit(Job((Bytes(b"x"),), None, provider.resolve_options(options)), None), reply)


def query(provider: Provider, data: Any) -> Snapshot:
    return drive_to_snapshot(provider.query(RECORD), response({"status": 200, "data": data}))


# whether the same picture may succeed later, where the vendor's reason tells
RETRYABLE = {
    **dict.fromkeys([-5, -7, -10, -14, -16], False),
    **dict.fromkeys([-2, -8, -9, -15], True),
}

both = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


@both
@pytest.mark.parametrize("state", [0, 2, 3, 4, 5, 99, "4"])
def test_every_state_except_success_and_failure_is_pending(provider: Provider, state: Any) -> None:
    snapshot = query(provider, {"task_id": "t-1", "state": state, "progress": 30})
    assert snapshot == Snapshot("t-1", Status.RUNNING, 0.3)


@both
def test_state_0_is_queued_and_other_pending_states_are_running(provider: Provider) -> None:
    assert query(provider, {"state": 0, "progress": 0}).status is Status.QUEUED
    assert query(provider, {"state": 2, "progress": 0}).status is Status.RUNNING


@both
@pytest.mark.parametrize("state", [-1, -2, -3, -5, -7, -8, -9, -10, -11, -13, -14, -15, -16, -99, "-7"])
def test_every_negative_state_is_a_failure_with_a_reason(provider: Provider, state: Any) -> None:
    snapshot = query(provider, {"task_id": "t-1", "state": state})
    assert snapshot.status is Status.FAILED
    assert snapshot.reason
    assert snapshot.details["state"] == int(state)
    assert snapshot.details.get("retryable") is RETRYABLE.get(int(state))


@both
@pytest.mark.parametrize("progress", ["50", 50, 50.0])
def test_progress_may_be_text(provider: Provider, progress: Any) -> None:
    assert query(provider, {"state": 4, "progress": progress}).progress == 0.5


@both
@pytest.mark.parametrize(
    ("progress", "expected"), [("50%", None), ([], None), (True, None), ("nan", None), (250, 1.0), (-3, 0.0)]
)
def test_an_invalid_progress_becomes_none_or_is_limited_to_the_valid_range(
    provider: Provider, progress: Any, expected: float | None
) -> None:
    snapshot = query(provider, {"state": 4, "progress": progress})
    assert (snapshot.status, snapshot.progress) == (Status.RUNNING, expected)


@both
def test_times_may_be_text_and_unknown_keys_are_ignored(provider: Provider) -> None:
    data = {
        "state": 1,
        "file": FILE,
        "created_at": "1746948961",
        "completed_at": 1746948962,
        "state_detail": 7,
        "new": {},
    }
    assert query(provider, data).status is Status.SUCCEEDED


@both
@pytest.mark.parametrize(
    "data", [{"file": FILE}, {"image": FILE}, {"file": "", "image": FILE}, {"file": None, "image": FILE}]
)
def test_the_result_url_is_in_file_or_image_and_is_kept_byte_for_byte(
    provider: Provider, data: Mapping[str, Any]
) -> None:
    media = query(provider, {"state": "1", **data}).outputs[0].media
    assert isinstance(media, Link)
    assert media.url == FILE
    assert "Signature" not in repr(media)


@both
@pytest.mark.parametrize("file", [None, "", "out.jpg", "http://[", "file:///etc/passwd", ["x"], 7])
def test_a_finished_task_without_a_url_is_unexpected(provider: Provider, file: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="has no file"):
        query(provider, {"state": 1, "file": file})


@both
def test_a_query_keeps_the_task_id_that_was_queried(provider: Provider) -> None:
    assert query(provider, {"task_id": "an id of the reseller", "state": 4}).task_id == "t-1"


@both
def test_a_task_id_is_escaped_in_the_path(provider: Provider) -> None:
    request = first_request(provider.query(Record("key", "any", Snapshot("../a?b/c", Status.QUEUED))))
    assert request.target.endswith("/..%2Fa%3Fb%2Fc")


@both
def test_a_synchronous_submission_that_is_not_finished_continues_as_a_task(provider: Provider) -> None:
    reply = response({"status": 200, "data": {"task_id": "t-9", "state": 4, "progress": 60}})
    assert submit(provider, reply, sync=True) == Snapshot("t-9", Status.RUNNING, 0.6)


@both
@pytest.mark.parametrize("data", [{"state": 1, "file": ""}, {"state": "done"}, {"state": [], "file": FILE}])
def test_a_paid_task_with_an_id_is_not_lost_when_the_rest_of_the_answer_is_malformed(
    provider: Provider, data: Mapping[str, Any]
) -> None:
    reply = response({"status": 200, "data": {"task_id": 91, **data}})
    assert submit(provider, reply, sync=True) == Snapshot("91", Status.QUEUED)


@both
@pytest.mark.parametrize("data", [None, [], "text", {}, {"task_id": ""}, {"task_id": None, "state": 4}])
def test_an_answer_without_a_task_id_leaves_the_submission_in_doubt(provider: Provider, data: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        submit(provider, response({"status": 200, "data": data}))


@both
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"status": 200}', b"\xff\xfe", b'{"a":' * 9999])
def test_an_answer_without_an_envelope_leaves_the_submission_in_doubt(provider: Provider, body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        submit(provider, response(body))


@both
@pytest.mark.parametrize("status", [200, "200", 200.0, None])
def test_the_bodys_status_may_be_text_or_missing(provider: Provider, status: Any) -> None:
    assert submit(provider, response({"status": status, "data": {"task_id": "t-1"}})).task_id == "t-1"


@both
@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, Rejected),
        ("401", AuthenticationError),
        (404, Rejected),
        (413, Rejected),
        (429, RateLimited),
        (500, ProviderUnavailable),
        ("error", UnexpectedAnswer),
        (201, UnexpectedAnswer),
        (True, UnexpectedAnswer),
        ({}, UnexpectedAnswer),
        ([], UnexpectedAnswer),
    ],
)
def test_the_bodys_own_status_must_be_200_too(
    provider: Provider, status: Any, error_class: type[WatermarkError]
) -> None:
    with pytest.raises(WatermarkError) as caught:
        submit(provider, response({"status": status, "message": "no", "data": {"task_id": "t-1"}}))
    assert type(caught.value) is error_class


@both
@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (302, UnexpectedAnswer),
        (400, Rejected),
        (401, AuthenticationError),
        (402, InsufficientCredits),
        (404, Rejected),
        (413, Rejected),
        (429, RateLimited),
        (500, ProviderUnavailable),
        (502, ProviderUnavailable),
    ],
)
@pytest.mark.parametrize("body", [{"status": 200, "data": {"task_id": "t-1"}}, b"<html>"], ids=["json", "html"])
def test_an_http_status_other_than_200_is_an_error_whatever_the_body(
    provider: Provider, status: int, error_class: type[WatermarkError], body: Any
) -> None:
    with pytest.raises(WatermarkError) as caught:
        submit(provider, response(body, status))
    assert type(caught.value) is error_class


@both
def test_a_refusal_keeps_retry_after(provider: Provider) -> None:
    with pytest.raises(RateLimited) as caught:
        submit(provider, response({"status": 429}, 429, {"retry-after": "7"}))
    assert caught.value.retry_after == 7.0


def gateway_error(code: str, message: str = "no") -> dict[str, Any]:
    return {"error": {"message": message, "type": "new_api_error", "code": code}}


@both
@pytest.mark.parametrize(
    ("status", "code", "error_class"),
    [
        (401, "invalid_token", AuthenticationError),
        (403, "insufficient_user_quota", InsufficientCredits),
        (429, "insufficient_quota", InsufficientCredits),
        (429, "rate_limit_exceeded", RateLimited),
        (503, "model_not_found", ProviderUnavailable),
        (200, "insufficient_user_quota", InsufficientCredits),
        (200, "bad_response_body", UnexpectedAnswer),
    ],
)
def test_errors_of_the_gateway_are_understood(
    provider: Provider, status: int, code: str, error_class: type[WatermarkError]
) -> None:
    with pytest.raises(WatermarkError) as caught:
        submit(provider, response(gateway_error(code), status))
    assert type(caught.value) is error_class
    assert caught.value.answer is not None
    assert code in caught.value.answer


@both
def test_an_image_is_sent_in_the_field_file_and_a_url_in_the_field_url(provider: Provider) -> None:
    for media, field in ((Bytes(b"x"), "file"), (Link("https://example.com/a.png"), "url")):
        request = first_request(provider.submit(Job((media,), None, provider.resolve_options({})), None))
        assert isinstance(request.body, Multipart)
        assert list(request.body.fields) == [field]
        assert not request.repeatable


@both
@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), ("1", True), (1, True), ("0", False), ("false", False), (0, False)]
)
def test_sync_is_sent_only_if_it_is_on(provider: Provider, value: Any, expected: bool) -> None:
    request = first_request(provider.submit(Job((Bytes(b"x"),), None, provider.resolve_options({"sync": value})), None))
    assert isinstance(request.body, Multipart)
    assert ("sync" in request.body.fields) is expected


@both
@pytest.mark.parametrize("value", ["yes please", None, 2, []])
def test_sync_accepts_only_true_and_false(provider: Provider, value: Any) -> None:
    with pytest.raises(InvalidInput, match="True or False"):
        provider.resolve_options({"sync": value})


ENVELOPE = {"status": 200, "data": {"task_id": "t-1", "state": 1, "file": FILE}}
PART = '--b0und-\r\nContent-Disposition: form-data; name="{}"\r\nContent-Type: text/plain\r\n\r\n{}\r\n'


def multipart(fields: Mapping[str, object]) -> bytes:
    return "".join([*(PART.format(name, value) for name, value in fields.items()), "--b0und---\r\n"]).encode()


@both
@pytest.mark.parametrize(
    "body",
    [
        json.dumps(ENVELOPE).encode(),
        json.dumps(ENVELOPE["data"]).encode(),
        b"task_id=t-1&state=1&progress=100&file=https%3A%2F%2Fresults.example.com%2Fout.jpg%3FSignature%3Da%252Bb",
        b"status=200&data=" + json.dumps(ENVELOPE["data"]).replace("%", "%25").encode(),
        b"status=200&data[task_id]=t-1&data[state]=1&data%5Bfile%5D=https://results.example.com/out.jpg?Signature%3Da%252Bb",
        json.dumps(ENVELOPE).encode("utf-16"),
        multipart({"task_id": "t-1", "state": 1, "file": FILE}),
        multipart({"status": 200, "data": json.dumps(ENVELOPE["data"])}),
        multipart({"data[task_id]": "t-1", "data[state]": 1, "data[file]": FILE}),
    ],
    ids=[
        *("envelope", "bare", "form", "form with json", "nested form", "utf-16"),
        *("multipart", "multipart with json", "nested multipart"),
    ],
)
def test_a_callback_is_understood_in_every_plausible_format(provider: Provider, body: bytes) -> None:
    snapshot = provider.parse_callback(Delivery(body), RECORD)
    assert snapshot is not None
    assert snapshot.status is Status.SUCCEEDED
    assert isinstance(snapshot.outputs[0].media, Link)
    assert snapshot.outputs[0].media.url == FILE


@both
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'{"data": null}',
        b'{"data": "\\ud800"}',
        b'{"data": {"task_id": "t-1", "state": 1}}',
        b'{"data": {"task_id": "t-1", "state": "won"}}',
        b'{"data": {"state": 1, "file": "https://evil.example.com/x"}}',
        b'{"task_id": "another", "state": 1, "file": "https://evil.example.com/x"}',
        b"&".join(b"a=1" for _ in range(100)),
        b'{"a":' * 9999,
        b"\xff\x00",
        b"--",
        b"--\r\n" * 9999,
        multipart({"task_id": "another", "state": 1, "file": "https://evil.example.com/x"}),
        multipart({"state": 1, "file": "https://evil.example.com/x"}),
        multipart({"task_id": "t-1", "state": "won"}),
    ],
)
def test_a_callback_without_this_jobs_task_is_ignored(provider: Provider, body: bytes) -> None:
    assert provider.parse_callback(Delivery(body), RECORD) is None


@both
def test_a_callback_before_the_answer_to_the_submission_counts_only_if_it_has_a_task_id(provider: Provider) -> None:
    record = Record("key", "any")
    assert provider.parse_callback(Delivery(b'{"state": 1, "file": "https://evil.example.com/x"}'), record) is None
    snapshot = provider.parse_callback(Delivery(json.dumps(ENVELOPE).encode()), record)
    assert snapshot is not None
    assert snapshot.task_id == "t-1"


def test_picwish_is_limited_to_two_requests_per_second_and_has_a_host_in_china() -> None:
    assert PicWish("key").requests_per_second == 2.0
    assert PicWish("key", base_url=PicWish.CHINA).base_url == "https://techsz.aoscdn.com"
    assert PicWish.default_base_url == "https://techhk.aoscdn.com"
