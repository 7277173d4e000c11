"""Dewatermark: images, refinement, videos and credits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from aiowatermark.charges import Charge
from aiowatermark.errors import (
    AuthenticationError,
    InsufficientCredits,
    InvalidInput,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    TransferFailed,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from aiowatermark.jobs import Job, Record, Session, Snapshot, Status
from aiowatermark.media.memory import Base64Text, Bytes
from aiowatermark.providers.dewatermark import Dewatermark
from aiowatermark.wire import FieldValue, Multipart, Request, Response
from tests.support.flows import drive_flow, drive_to_snapshot, first_request, response

DEWATERMARK = Dewatermark("canary")
IMAGE = Bytes(b"image", name="picture.jpg")
BRUSH = Bytes(b"brush", name="brush.png")
VIDEO = Job((Bytes(b"video", name="clip.mp4"),), None, DEWATERMARK.resolve_options({}), video=True)
RECORD = Record("key", "dewatermark", Snapshot("v-1", Status.QUEUED), video=True)


def job(**options: Any) -> Job:
    return Job((IMAGE,), None, DEWATERMARK.resolve_options(options))


def answer(image: Any = "QUJD", **edited: Any) -> dict[str, Any]:
    return {"edited_image": {"image": image, "mask": "Qg==", **edited}, "event_id": "e", "session_id": "canary-session"}


def submit(job: Job, payload: Any, status: int = 200) -> Snapshot:
    return drive_to_snapshot(DEWATERMARK.submit(job, None), response(payload, status))


def fields(job: Job) -> Mapping[str, FieldValue]:
    request = first_request(DEWATERMARK.submit(job, None))
    assert isinstance(request.body, Multipart)
    return request.body.fields


def test_remove_text_is_sent_as_text_and_predict_mode_has_a_default() -> None:
    assert fields(job())["remove_text"] == "false"
    assert fields(job(remove_text=True))["remove_text"] == "true"
    assert fields(job())["predict_mode"] == "3.0"


def test_the_text_false_turns_remove_text_off() -> None:
    assert fields(job(remove_text="false"))["remove_text"] == "false"
    with pytest.raises(InvalidInput, match="True or False"):
        job(remove_text="never")


@pytest.mark.parametrize("mode", ["3.0", "2.0", "old"])
def test_the_documented_modes_are_accepted(mode: str) -> None:
    assert fields(job(predict_mode=mode))["predict_mode"] == mode


@pytest.mark.parametrize("mode", ["4.0", 3.0, [], ""])
def test_other_modes_are_refused(mode: Any) -> None:
    with pytest.raises(InvalidInput, match="predict_mode must be one of"):
        job(predict_mode=mode)


V3 = Dewatermark("canary", version="v3")


@pytest.mark.parametrize(("mode", "sent"), [(None, "4.0"), ("4.0", "4.0"), ("3.0", "3.0"), ("old", "old")])
def test_version_3_has_a_mode_of_its_own_as_default(mode: str | None, sent: str) -> None:
    options = {} if mode is None else {"predict_mode": mode}
    request = first_request(V3.submit(Job((IMAGE,), None, V3.resolve_options(options)), None))
    assert isinstance(request.body, Multipart)
    assert (request.target, request.body.fields["predict_mode"]) == ("/api/object_removal/v3/erase_watermark", sent)


def test_version_3_refuses_unknown_modes() -> None:
    with pytest.raises(InvalidInput, match=r"predict_mode must be one of 4\.0, 3\.0, 2\.0, old, not '5\.0'"):
        V3.resolve_options({"predict_mode": "5.0"})


# the PRO call


@pytest.mark.parametrize("provider", [DEWATERMARK, V3], ids=["v2", "v3"])
def test_the_pro_call_takes_the_image_alone_and_costs_3_credits(provider: Dewatermark) -> None:
    pro = Job((IMAGE,), None, provider.resolve_options({"pro": True}))
    flow = provider.submit(pro, None)
    request = first_request(flow)
    assert isinstance(request.body, Multipart)
    assert request.target == "/api/object_removal/v1/erase_watermark_pro"
    assert list(request.body.fields) == ["original_preview_image"]
    snapshot = drive_to_snapshot(provider.submit(pro, None), response({**answer(), "edited_image": {"image": "QUJD"}}))
    assert snapshot.charged == Charge(3.0, "price list")
    assert snapshot.session is not None
    refined = provider.refinement(IMAGE, snapshot.session, BRUSH, {})
    assert "mask_base" not in fields(refined)


@pytest.mark.parametrize(
    "options", [{"remove_text": True}, {"predict_mode": "3.0"}, {"session_id": "s"}, {"mask_base": b"mask"}]
)
def test_the_pro_call_takes_no_other_option(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"takes the image alone: omit {next(iter(options))}"):
        job(pro=True, **options)


def test_the_pro_call_takes_no_mask_no_video_and_refines_nothing() -> None:
    pro = DEWATERMARK.resolve_options({"pro": True})
    with pytest.raises(Unsupported, match="no mask with pro=True"):
        DEWATERMARK.capabilities_for(Job((IMAGE,), BRUSH, pro))
    assert not DEWATERMARK.capabilities_for(Job((IMAGE,), None, pro)).videos
    with pytest.raises(InvalidInput, match="a refinement takes a mask"):
        DEWATERMARK.refinement(IMAGE, Session("s", None, 0), BRUSH, {"pro": True})


@pytest.mark.parametrize("value", ["false", False, 0, None])
def test_without_pro_a_job_is_the_same_as_in_earlier_versions(value: Any) -> None:
    assert job(pro=value).fingerprint == job().fingerprint
    assert "pro" not in dict(job().options) or job().options["pro"] is None


def test_each_image_call_costs_1_credit_refinements_too() -> None:
    assert submit(job(), answer()).charged == Charge(1.0, "price list")
    refined = submit(DEWATERMARK.refinement(IMAGE, Session("s", None, 0), BRUSH, {}), answer())
    assert refined.charged == Charge(1.0, "price list")


@pytest.mark.parametrize("version", ["v4", "", None, "../credit"])
def test_other_versions_are_refused(version: Any) -> None:
    with pytest.raises(InvalidInput, match="v2 or v3"):
        Dewatermark("key", version=version)


def test_the_image_is_declared_as_jpeg() -> None:
    request = first_request(DEWATERMARK.submit(job(), None))
    assert isinstance(request.body, Multipart)
    assert request.body.types == {"original_preview_image": "image/jpeg"}


@pytest.mark.parametrize("mask_base", [Base64Text("Qg==", name="mask.png"), None])
def test_the_first_refinement_sends_the_image_and_later_ones_the_session(mask_base: Base64Text | None) -> None:
    masks = ["mask_brush"] if mask_base is None else ["mask_base", "mask_brush"]
    rest = [*masks, "remove_text", "predict_mode"]
    first = DEWATERMARK.refinement(IMAGE, Session("s-1", mask_base, 0), BRUSH, {})
    assert list(fields(first)) == ["original_preview_image", *rest]
    second = DEWATERMARK.refinement(IMAGE, Session("s-2", mask_base, 1), BRUSH, {})
    assert list(fields(second)) == ["session_id", *rest]
    assert fields(second)["session_id"] == "s-2"


def test_a_refinement_is_counted_and_keeps_the_next_mask() -> None:
    for count in range(3):
        refined = submit(DEWATERMARK.refinement(IMAGE, Session("s", None, count), BRUSH, {}), answer())
        assert refined.session is not None
        assert refined.session.refinements == count + 1
        assert isinstance(refined.session.mask, Base64Text)
        assert refined.session.mask.text == "Qg=="


def test_a_refinement_accepts_options_except_those_its_session_has() -> None:
    session = Session("s", None, 0)
    assert fields(DEWATERMARK.refinement(IMAGE, session, BRUSH, {"remove_text": True}))["remove_text"] == "true"
    for options in ({"session_id": "other"}, {"mask_base": b"mask"}):
        with pytest.raises(InvalidInput, match="omit these options"):
            fields(DEWATERMARK.refinement(IMAGE, session, BRUSH, options))


def test_watermark_mask_is_used_if_mask_is_missing() -> None:
    session = submit(job(), answer(mask=None, watermark_mask="Qw==")).session
    assert session is not None
    assert isinstance(session.mask, Base64Text)
    assert session.mask.text == "Qw=="


@pytest.mark.parametrize("mask", [None, "", 7, {}])
def test_an_answer_without_masks_is_still_a_result(mask: Any) -> None:
    assert submit(job(), answer(mask=mask)).status is Status.SUCCEEDED


def test_an_answer_without_a_session_is_a_result_that_cannot_be_refined() -> None:
    snapshot = submit(job(), {"edited_image": {"image": "QUJD"}})
    assert (snapshot.status, snapshot.session, snapshot.task_id) == (Status.SUCCEEDED, None, None)


@pytest.mark.parametrize(
    "text", ["QUJDRA==", "data:image/jpeg;base64,QUJDRA==", "QUJD\nRA==\n", "QUJDRA", "QUJD\r\nRA=="]
)
async def test_a_paid_result_is_not_lost_to_malformed_base64(text: str) -> None:
    media = submit(job(), answer(text)).outputs[0].media
    assert isinstance(media, Base64Text)
    assert b"".join([block async for block in media.blocks()]) == b"ABCD"
    assert media.size == 4


@pytest.mark.parametrize(
    "payload",
    [{}, {"edited_image": None}, answer(None), answer(""), answer(" "), answer("data:image/png;base64,"), answer([])],
)
def test_an_answer_without_an_image_leaves_the_submission_in_doubt(payload: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        submit(job(), payload)


@pytest.mark.parametrize(
    ("status", "message", "error_class"),
    [
        (400, "", Rejected),
        (400, "the image is too small", Rejected),
        (400, "not enough credits", InsufficientCredits),
        (400, "quota exceeded", InsufficientCredits),
        (400, "too many requests: quota", Rejected),
        (401, "", AuthenticationError),
        (402, "", InsufficientCredits),
        (403, "", InsufficientCredits),
        (429, "not enough credits", InsufficientCredits),
        (429, "slow down", RateLimited),
        (429, "", RateLimited),
        (500, "", ProviderUnavailable),
        (503, "", ProviderUnavailable),
    ],
)
def test_refusals_for_missing_credits_are_distinguished_from_others(
    status: int, message: str, error_class: type[WatermarkError]
) -> None:
    for payload in ({"message": message}, {"error": message}, {"error": {"message": message}, "message": None}):
        with pytest.raises(WatermarkError) as caught:
            submit(job(), payload, status)
        assert type(caught.value) is error_class


def test_an_image_together_with_a_session_id_and_neither_of_them_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="either an image or session_id"):
        fields(job(session_id="s"))
    with pytest.raises(InvalidInput, match="either an image or session_id"):
        fields(Job((), BRUSH, DEWATERMARK.resolve_options({})))


@pytest.mark.parametrize("session_id", ["", "  ", 7])
def test_a_session_id_must_be_text(session_id: Any) -> None:
    with pytest.raises(InvalidInput, match="session_id must be the text"):
        DEWATERMARK.resolve_options({"session_id": session_id})


def test_an_image_cannot_be_queried() -> None:
    record = Record("key", "dewatermark", Snapshot("e", Status.QUEUED))
    with pytest.raises(Unsupported, match="no call to query"):
        next(DEWATERMARK.query(record))


def test_an_image_to_refine_must_be_smaller() -> None:
    refined = DEWATERMARK.refinement(IMAGE, Session("s", None, 0), BRUSH, {})
    assert DEWATERMARK.capabilities_for(refined).images.max_side == 1920
    assert DEWATERMARK.capabilities_for(job()).images.max_side == 6000


# videos

SIGNED = "https://storage.googleapis.com/b/o?X-Goog-Signature=canary"
UPLOAD_URL = response({"task_id": "v-1", "upload_signed_url": SIGNED})
EXPIRED = response(b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>canary</Message></Error>", 400)
FORBIDDEN = response(b"<Error><Code>AccessDenied</Code></Error>", 403)
UNSIGNED = response(b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>canary</StringToSign></Error>", 403)
STORED = response(b"")


@pytest.mark.parametrize("reply", [b"", b"OK", b"[]", b"null", b'{"status": "CREATED"}', b'{"status": "PROCESSING"}'])
def test_a_successful_answer_to_the_submission_queues_the_video_whatever_its_body(reply: bytes) -> None:
    end, _ = drive_flow(DEWATERMARK.submit(VIDEO, None), UPLOAD_URL, STORED, response(reply))
    assert end == Snapshot("v-1", Status.QUEUED)


def test_the_task_id_is_yielded_before_the_upload_and_only_the_submission_is_paid() -> None:
    _, steps = drive_flow(DEWATERMARK.submit(VIDEO, None), UPLOAD_URL, STORED, response({}))
    upload, snapshot, put, submission = steps
    assert snapshot == Snapshot("v-1", Status.UPLOADING)
    assert isinstance(upload, Request)
    assert isinstance(put, Request)
    assert isinstance(submission, Request)
    assert (upload.repeatable, put.repeatable, submission.repeatable) == (True, True, False)
    assert (upload.body, upload.signed, submission.signed) == (None, False, False)
    assert (put.method, put.target, put.signed, put.body) == ("PUT", SIGNED, True, VIDEO.media)
    assert "canary" not in repr(put)


@pytest.mark.parametrize(
    "expired", [EXPIRED, FORBIDDEN, response(b"", 403)], ids=["ExpiredToken", "AccessDenied", "bare"]
)
def test_an_expired_upload_url_is_replaced_at_most_twice(expired: Response) -> None:
    other = response({"task_id": "v-2", "upload_signed_url": SIGNED})
    end, steps = drive_flow(
        DEWATERMARK.submit(VIDEO, None), UPLOAD_URL, expired, other, expired, other, STORED, response({})
    )
    assert end == Snapshot("v-2", Status.QUEUED)
    assert [step.task_id for step in steps if isinstance(step, Snapshot)] == ["v-1", "v-2", "v-2"]
    submission = steps[-1]
    assert isinstance(submission, Request)
    assert isinstance(submission.body, Multipart)
    assert submission.body.fields == {"task_id": "v-2"}
    with pytest.raises(TransferFailed, match="refused the upload"):
        drive_flow(DEWATERMARK.submit(VIDEO, None), UPLOAD_URL, expired, UPLOAD_URL, expired, UPLOAD_URL, expired)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (UNSIGNED, "HTTP 403 SignatureDoesNotMatch"),
        (response(b"<Error><Code>EntityTooLarge</Code></Error>", 400), "HTTP 400 EntityTooLarge"),
        (response(b"canary", 503), "HTTP 503"),
        (response(b"", 302), "HTTP 302"),
    ],
)
def test_any_other_refusal_ends_the_upload_with_its_code_and_without_secrets(refusal: Response, code: str) -> None:
    with pytest.raises(TransferFailed) as caught:
        drive_flow(DEWATERMARK.submit(VIDEO, None), UPLOAD_URL, refusal)
    assert str(caught.value).endswith(code)
    assert "canary" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    "payload", [{}, {"task_id": "v"}, {"task_id": "v", "upload_signed_url": "http://["}, {"upload_signed_url": SIGNED}]
)
def test_an_answer_without_a_task_id_or_upload_url_is_unexpected(payload: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        drive_flow(DEWATERMARK.submit(VIDEO, None), response(payload))


@pytest.mark.parametrize(
    ("status", "error_class"), [(401, AuthenticationError), (403, InsufficientCredits), (500, ProviderUnavailable)]
)
def test_the_submission_of_a_video_may_be_refused(status: int, error_class: type[WatermarkError]) -> None:
    with pytest.raises(error_class):
        drive_flow(DEWATERMARK.submit(VIDEO, None), UPLOAD_URL, STORED, response({}, status))


def query(**fields: Any) -> Snapshot:
    return drive_to_snapshot(DEWATERMARK.query(RECORD), response(fields))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("CREATED", Status.UPLOADING),
        ("PROCESSING", Status.RUNNING),
        ("processing", Status.RUNNING),
        ("ANYTHING", Status.RUNNING),
        ("FAILED", Status.FAILED),
        ("TIMEOUT", Status.FAILED),
        ("COMPLETED", Status.SUCCEEDED),
        ("completed", Status.SUCCEEDED),
    ],
)
def test_each_status_of_a_video_is_mapped_to_a_job_status(status: str, expected: Status) -> None:
    assert query(status=status, download_signed_url=SIGNED).status is expected


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.25, 0.25), ("0.25", 0.25), (None, None), ("?", None), (7, 1.0), ([], None)]
)
def test_progress_is_a_fraction_and_an_invalid_one_becomes_none(progress: Any, expected: float | None) -> None:
    assert query(status="PROCESSING", progress=progress).progress == expected


def test_the_details_of_a_finished_video() -> None:
    snapshot = query(
        status="COMPLETED", download_signed_url=SIGNED, duration="51.3", has_watermark=False, completed_at=1763794728
    )
    details = {"has_watermark": False, "duration": 51.3, "cost": 10.26, "expires_at": 1763794728 + 2 * 86_400}
    assert snapshot.details == {**details, "cost_is_guess": True}
    assert snapshot.charged is None
    assert "canary" not in repr(snapshot)


@pytest.mark.parametrize("value", [None, "?", [], {}, "2025-11-22T06:58:48Z"])
def test_malformed_details_are_omitted_and_do_not_fail_the_job(value: Any) -> None:
    snapshot = query(
        status="COMPLETED", download_signed_url=SIGNED, duration=value, has_watermark=value, completed_at=value
    )
    assert (snapshot.status, snapshot.details) == (Status.SUCCEEDED, {})


def test_the_price_per_second_is_a_setting() -> None:
    flow = Dewatermark("key", credits_per_second=0.5).query(RECORD)
    end, _ = drive_flow(flow, response({"status": "COMPLETED", "download_signed_url": SIGNED, "duration": 10}))
    assert end.details == {"duration": 10.0, "cost": 5.0}
    assert end.charged == Charge(5.0, "price list")


@pytest.mark.parametrize("price", [-1, "0.2", True, float("nan"), float("inf"), []])
def test_a_price_is_a_number_of_at_least_0(price: Any) -> None:
    with pytest.raises(InvalidInput, match="credits_per_second"):
        Dewatermark("key", credits_per_second=price)


@pytest.mark.parametrize("duration", [-3, 1e308])
def test_a_duration_that_cannot_be_one_costs_no_paid_result(duration: float) -> None:
    flow = Dewatermark("key", credits_per_second=1e9).query(RECORD)
    end, _ = drive_flow(flow, response({"status": "COMPLETED", "download_signed_url": SIGNED, "duration": duration}))
    assert (end.status, end.charged) == (Status.SUCCEEDED, None)


@pytest.mark.parametrize(("status", "retryable"), [("FAILED", None), ("TIMEOUT", True)])
def test_a_video_that_failed_is_refunded(status: str, retryable: bool | None) -> None:
    snapshot = query(status=status)
    assert snapshot.charged == Charge(0.0, "price list")
    assert snapshot.details.get("retryable") is retryable


@pytest.mark.parametrize("link", [None, "", "http://["])
def test_a_finished_video_without_a_url_is_unexpected(link: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="has no download URL"):
        query(status="COMPLETED", download_signed_url=link)


@pytest.mark.parametrize(
    "payload", [{"data": None}, {"data": {}}, {"status": "OK"}, {"data": {"available_credit": None}}]
)
def test_credits_without_a_balance_are_unexpected(payload: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        drive_flow(DEWATERMARK.credits(), response(payload))


def test_credits_may_be_text() -> None:
    end, _ = drive_flow(DEWATERMARK.credits(), response({"status": "OK", "data": {"available_credit": "12.5"}}))
    assert end.available == 12.5


@pytest.mark.parametrize(("options", "credits_"), [({}, 1.0), ({"pro": False}, 1.0), ({"pro": True}, 3.0)])
def test_the_price_of_an_image_is_known_before_it_is_submitted(options: dict[str, Any], credits_: float) -> None:
    assert Dewatermark("canary-1").image_price(options) == credits_
