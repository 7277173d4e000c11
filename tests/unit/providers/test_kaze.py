"""Kaze: error codes, states, masks and credits."""

from __future__ import annotations

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
from aiowatermark.media.masks.strokes import StrokeMask
from aiowatermark.media.memory import Bytes, Link
from aiowatermark.providers.kaze import Kaze
from aiowatermark.wire import Base64, Json
from tests.support.flows import drive_flow, drive_to_snapshot, first_request, response

KAZE = Kaze("canary")
RECORD = Record("key", "kaze", Snapshot("t-1", Status.QUEUED))


def job(**options: Any) -> Job:
    return Job((Bytes(b"x"),), options.pop("mask", None), KAZE.resolve_options(options))


def query(payload: Any) -> Snapshot:
    return drive_to_snapshot(KAZE.query(RECORD), response(payload))


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (1000, Rejected),
        ("1000", Rejected),
        (1001, Rejected),
        (1002, AuthenticationError),
        (1003, InsufficientCredits),
        ("1003", InsufficientCredits),
        (1003.0, InsufficientCredits),
        (1100, ProviderUnavailable),
        (1199, ProviderUnavailable),
        (1200, UnexpectedAnswer),
        (-1, UnexpectedAnswer),
        ("oops", UnexpectedAnswer),
        ([], UnexpectedAnswer),
        ({}, UnexpectedAnswer),
    ],
)
def test_an_answer_with_http_200_and_an_error_code_is_an_error(code: Any, error_class: type[WatermarkError]) -> None:
    with pytest.raises(WatermarkError) as caught:
        drive_flow(KAZE.submit(job(), None), response({"code": code, "message": "Success", "data": {"task_id": "t"}}))
    assert type(caught.value) is error_class


@pytest.mark.parametrize("payload", [{}, {"code": 0}, {"code": "0"}, {"code": None}, {"message": "Success"}])
def test_an_absent_code_means_success(payload: Mapping[str, Any]) -> None:
    end, _ = drive_flow(KAZE.submit(job(), None), response({**payload, "data": {"task_id": 7}}))
    assert end == Snapshot("7", Status.QUEUED)


@pytest.mark.parametrize(
    ("status", "code", "error_class"),
    [
        (400, 1003, InsufficientCredits),
        (403, 1002, AuthenticationError),
        (401, 0, AuthenticationError),
        (400, 7777, Rejected),
        (429, 1000, RateLimited),
        (500, 1000, ProviderUnavailable),
        (404, None, Rejected),
    ],
)
def test_the_code_of_a_refusal_takes_precedence_except_for_429_and_5xx(
    status: int, code: Any, error_class: type[WatermarkError]
) -> None:
    with pytest.raises(WatermarkError) as caught:
        drive_flow(KAZE.submit(job(), None), response({"code": code}, status))
    assert type(caught.value) is error_class


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{}", b'{"data": null}', b'{"data": {"task_id": " "}}'])
def test_an_answer_without_a_task_id_leaves_the_submission_in_doubt(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        drive_flow(KAZE.submit(job(), None), response(body))


@pytest.mark.parametrize("status", ["failed", "timeout", "Failed"])
def test_err_msg_may_be_in_data_or_beside_it(status: str) -> None:
    assert query({"data": {"status": status, "err_msg": "inner"}, "err_msg": "outer"}).reason == "inner"
    assert query({"data": {"status": status, "err_msg": ""}, "err_msg": "outer"}).reason == "outer"
    assert query({"data": {"status": status}}).reason == status.lower()


@pytest.mark.parametrize("err_msg", [None, {}, ["x"], True, 7])
def test_a_malformed_err_msg_does_not_hide_a_failure(err_msg: Any) -> None:
    assert query({"data": {"status": "failed", "err_msg": err_msg}}).status is Status.FAILED


@pytest.mark.parametrize("status", ["processing", "queued", "anything else"])
def test_every_other_status_is_running(status: str) -> None:
    assert query({"data": {"status": status, "images": "not yet"}}) == Snapshot("t-1", Status.RUNNING)


@pytest.mark.parametrize("images", [None, [], [{}], [{"url": ""}], [{"url": "http://["}], [{"url": 7}]])
def test_a_success_without_a_url_is_unexpected(images: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="has no image"):
        query({"data": {"status": "success", "images": images}})


@pytest.mark.parametrize("data", [None, [], {}, {"status": None}, "processing"])
def test_an_answer_without_a_status_is_unexpected(data: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        query({"data": data})


def test_a_query_is_repeatable_and_a_submission_is_not() -> None:
    query_request, submit_request = first_request(KAZE.query(RECORD)), first_request(KAZE.submit(job(), None))
    assert (query_request.method, query_request.repeatable, submit_request.repeatable) == ("POST", True, False)


def test_a_mask_is_converted_to_a_smear_and_the_option_smear_is_sent_unchanged() -> None:
    smear = Bytes(b"smear", name="smear.png")
    for submitted, media_class in ((job(mask=Bytes(b"m")), StrokeMask), (job(smear=smear), Bytes)):
        request = first_request(KAZE.submit(submitted, None))
        assert isinstance(request.body, Json)
        part = request.body.value["smear_base64"]
        assert isinstance(part, Base64)
        assert type(part.media) is media_class


def test_a_mask_together_with_a_smear_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="not both"):
        next(KAZE.submit(job(mask=Bytes(b"m"), smear=Link("https://example.com/s.png")), None))


def test_a_quota_with_malformed_optional_fields_is_still_a_balance() -> None:
    end, _ = drive_flow(KAZE.credits(), response({"data": {"remaining": "12", "limit": None, "usage": "?"}}))
    assert (end.available, end.used, end.limit) == (12.0, None, None)
    with pytest.raises(UnexpectedAnswer):
        drive_flow(KAZE.credits(), response({"data": {}}))
