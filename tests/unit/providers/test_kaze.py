"""The traps of Kaze."""

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
from aiowatermark.media.memory import Bytes, Link
from aiowatermark.media.stroke_mask import StrokeMask
from aiowatermark.providers.kaze import Kaze
from aiowatermark.wire import Base64, Json, Request
from tests.support.flows import answer, talked

KAZE = Kaze("canary")
RECORD = Record("key", "kaze", Snapshot("t-1", Status.QUEUED))


def job(**options: Any) -> Job:
    return Job((Bytes(b"x"),), options.pop("mask", None), KAZE.resolve_options(options))


def looked(payload: Any) -> Snapshot:
    end, _ = talked(KAZE.query(RECORD), answer(payload))
    assert isinstance(end, Snapshot)
    return end


@pytest.mark.parametrize(
    ("code", "kind"),
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
def test_http_200_is_no_proof(code: Any, kind: type[WatermarkError]) -> None:
    with pytest.raises(WatermarkError) as caught:
        talked(KAZE.submit(job(), None), answer({"code": code, "message": "Success", "data": {"task_id": "t"}}))
    assert type(caught.value) is kind


@pytest.mark.parametrize("payload", [{}, {"code": 0}, {"code": "0"}, {"code": None}, {"message": "Success"}])
def test_an_absent_code_means_success(payload: Mapping[str, Any]) -> None:
    end, _ = talked(KAZE.submit(job(), None), answer({**payload, "data": {"task_id": 7}}))
    assert end == Snapshot("7", Status.QUEUED)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
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
def test_a_refusals_code_says_more_than_its_http_status(status: int, code: Any, kind: type[WatermarkError]) -> None:
    with pytest.raises(WatermarkError) as caught:
        talked(KAZE.submit(job(), None), answer({"code": code}, status))
    assert type(caught.value) is kind


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{}", b'{"data": null}', b'{"data": {"task_id": " "}}'])
def test_an_answer_without_a_task_leaves_the_submit_in_doubt(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        talked(KAZE.submit(job(), None), answer(body))


@pytest.mark.parametrize("status", ["failed", "timeout", "Failed"])
def test_err_msg_may_stand_in_data_or_at_the_top(status: str) -> None:
    assert looked({"data": {"status": status, "err_msg": "inner"}, "err_msg": "outer"}).reason == "inner"
    assert looked({"data": {"status": status, "err_msg": ""}, "err_msg": "outer"}).reason == "outer"
    assert looked({"data": {"status": status}}).reason == status.lower()


@pytest.mark.parametrize("err_msg", [None, {}, ["x"], True, 7])
def test_a_strange_err_msg_does_not_hide_a_failure(err_msg: Any) -> None:
    assert looked({"data": {"status": "failed", "err_msg": err_msg}}).status is Status.FAILED


@pytest.mark.parametrize("status", ["processing", "queued", "anything else"])
def test_what_is_not_finished_is_running(status: str) -> None:
    assert looked({"data": {"status": status, "images": "not yet"}}) == Snapshot("t-1", Status.RUNNING)


@pytest.mark.parametrize("images", [None, [], [{}], [{"url": ""}], [{"url": "http://["}], [{"url": 7}]])
def test_a_success_without_a_link_is_no_result(images: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="names no image"):
        looked({"data": {"status": "success", "images": images}})


@pytest.mark.parametrize("data", [None, [], {}, {"status": None}, "processing"])
def test_a_look_that_tells_nothing_raises(data: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        looked({"data": data})


def test_a_look_is_repeatable_and_a_submit_is_not() -> None:
    look, submit = next(KAZE.query(RECORD)), next(KAZE.submit(job(), None))
    assert isinstance(look, Request)
    assert isinstance(submit, Request)
    assert (look.method, look.repeatable, submit.repeatable) == ("POST", True, False)


def test_a_mask_becomes_a_smear_and_a_smear_of_ones_own_stays_as_it_is() -> None:
    own = Bytes(b"smear", name="own.png")
    for given, kind in ((job(mask=Bytes(b"m")), StrokeMask), (job(smear=own), Bytes)):
        request = next(KAZE.submit(given, None))
        assert isinstance(request, Request)
        assert isinstance(request.body, Json)
        part = request.body.value["smear_base64"]
        assert isinstance(part, Base64)
        assert type(part.media) is kind


def test_a_mask_and_a_smear_together_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="not both"):
        next(KAZE.submit(job(mask=Bytes(b"m"), smear=Link("https://example.com/s.png")), None))


def test_a_quota_without_its_parts_is_still_a_balance() -> None:
    end, _ = talked(KAZE.credits(), answer({"data": {"remaining": "12", "limit": None, "usage": "?"}}))
    assert (end.available, end.used, end.limit) == (12.0, None, None)
    with pytest.raises(UnexpectedAnswer):
        talked(KAZE.credits(), answer({"data": {}}))
