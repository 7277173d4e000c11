"""The traps of Dewatermark: pictures, refinement, videos."""

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
    TransferFailed,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from aiowatermark.jobs import Job, Record, Session, Snapshot, Status
from aiowatermark.media.memory import Base64Text, Bytes
from aiowatermark.providers.dewatermark import Dewatermark
from aiowatermark.wire import Multipart, Request, Response, Value
from tests.support.flows import answer, talked

DEWATERMARK = Dewatermark("canary")
PICTURE = Bytes(b"picture", name="picture.jpg")
BRUSH = Bytes(b"brush", name="brush.png")
VIDEO = Job((Bytes(b"film", name="clip.mp4"),), None, DEWATERMARK.resolve_options({}), video=True)
RECORD = Record("key", "dewatermark", Snapshot("v-1", Status.QUEUED), video=True)


def job(**options: Any) -> Job:
    return Job((PICTURE,), None, DEWATERMARK.resolve_options(options))


def erased(image: Any = "QUJD", **edited: Any) -> dict[str, Any]:
    return {"edited_image": {"image": image, "mask": "Qg==", **edited}, "event_id": "e", "session_id": "canary-session"}


def submitted(job: Job, payload: Any, status: int = 200) -> Snapshot:
    end, _ = talked(DEWATERMARK.submit(job, None), answer(payload, status))
    assert isinstance(end, Snapshot)
    return end


def fields(job: Job) -> Mapping[str, Value]:
    request = next(DEWATERMARK.submit(job, None))
    assert isinstance(request, Request)
    assert isinstance(request.body, Multipart)
    return request.body.fields


def test_remove_text_is_text_and_the_mode_has_a_default() -> None:
    assert fields(job())["remove_text"] == "false"
    assert fields(job(remove_text=True))["remove_text"] == "true"
    assert fields(job())["predict_mode"] == "3.0"


def test_text_that_says_false_takes_no_text_away() -> None:
    assert fields(job(remove_text="false"))["remove_text"] == "false"
    with pytest.raises(InvalidInput, match="True or False"):
        job(remove_text="never")


@pytest.mark.parametrize("mode", ["3.0", "2.0", "old"])
def test_the_documented_modes_are_taken(mode: str) -> None:
    assert fields(job(predict_mode=mode))["predict_mode"] == mode


@pytest.mark.parametrize("mode", ["4.0", 3.0, None, [], ""])
def test_other_modes_are_refused(mode: Any) -> None:
    with pytest.raises(InvalidInput, match="predict_mode is one of"):
        job(predict_mode=mode)


@pytest.mark.parametrize("version", ["v4", "", None, "../credit"])
def test_other_versions_are_refused(version: Any) -> None:
    with pytest.raises(InvalidInput, match="v2 or v3"):
        Dewatermark("key", version=version)


def test_the_picture_is_declared_as_the_jpeg_it_has_to_be() -> None:
    request = next(DEWATERMARK.submit(job(), None))
    assert isinstance(request, Request)
    assert isinstance(request.body, Multipart)
    assert request.body.types == {"original_preview_image": "image/jpeg"}


@pytest.mark.parametrize("base_of_session", [Base64Text("Qg==", name="mask.png"), None])
def test_a_first_refinement_sends_the_picture_and_later_ones_the_session(base_of_session: Base64Text | None) -> None:
    masks = ["mask_brush"] if base_of_session is None else ["mask_base", "mask_brush"]
    rest = [*masks, "remove_text", "predict_mode"]
    first = DEWATERMARK.refinement(PICTURE, Session("s-1", base_of_session, 0), BRUSH, {})
    assert list(fields(first)) == ["original_preview_image", *rest]
    second = DEWATERMARK.refinement(PICTURE, Session("s-2", base_of_session, 1), BRUSH, {})
    assert list(fields(second)) == ["session_id", *rest]
    assert fields(second)["session_id"] == "s-2"


def test_a_refinement_counts_and_remembers_the_next_mask() -> None:
    for count in range(3):
        refined = submitted(DEWATERMARK.refinement(PICTURE, Session("s", None, count), BRUSH, {}), erased())
        assert refined.session is not None
        assert refined.session.refinements == count + 1
        assert isinstance(refined.session.mask, Base64Text)
        assert refined.session.mask.text == "Qg=="


def test_a_refinement_takes_options_but_not_those_its_session_holds() -> None:
    session = Session("s", None, 0)
    assert fields(DEWATERMARK.refinement(PICTURE, session, BRUSH, {"remove_text": True}))["remove_text"] == "true"
    for options in ({"session_id": "other"}, {"mask_base": b"mask"}):
        with pytest.raises(InvalidInput, match="leave these options out"):
            fields(DEWATERMARK.refinement(PICTURE, session, BRUSH, options))


def test_the_mask_of_everything_erased_stands_in_where_mask_is_missing() -> None:
    session = submitted(job(), erased(mask=None, watermark_mask="Qw==")).session
    assert session is not None
    assert isinstance(session.mask, Base64Text)
    assert session.mask.text == "Qw=="


@pytest.mark.parametrize("mask", [None, "", 7, {}])
def test_a_picture_without_masks_is_still_a_result(mask: Any) -> None:
    assert submitted(job(), erased(mask=mask)).status is Status.SUCCEEDED


def test_an_answer_without_a_session_cannot_be_refined_but_is_a_result() -> None:
    snapshot = submitted(job(), {"edited_image": {"image": "QUJD"}})
    assert (snapshot.status, snapshot.session, snapshot.task_id) == (Status.SUCCEEDED, None, None)


@pytest.mark.parametrize(
    "text", ["QUJDRA==", "data:image/jpeg;base64,QUJDRA==", "QUJD\nRA==\n", "QUJDRA", "QUJD\r\nRA=="]
)
async def test_what_was_paid_is_not_lost_to_a_strange_kind_of_base64(text: str) -> None:
    media = submitted(job(), erased(text)).outputs[0].media
    assert isinstance(media, Base64Text)
    assert b"".join([block async for block in media.blocks()]) == b"ABCD"
    assert media.size == 4


@pytest.mark.parametrize(
    "payload",
    [{}, {"edited_image": None}, erased(None), erased(""), erased(" "), erased("data:image/png;base64,"), erased([])],
)
def test_an_answer_without_a_picture_leaves_the_submit_in_doubt(payload: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        submitted(job(), payload)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "", Rejected),
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
def test_refusals_about_money_are_told_from_others(status: int, message: str, kind: type[WatermarkError]) -> None:
    with pytest.raises(WatermarkError) as caught:
        submitted(job(), {"message": message}, status)
    assert type(caught.value) is kind


def test_a_picture_and_a_session_together_or_neither_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="one of the two"):
        fields(job(session_id="s"))
    with pytest.raises(InvalidInput, match="one of the two"):
        fields(Job((), BRUSH, DEWATERMARK.resolve_options({})))


@pytest.mark.parametrize("session_id", ["", "  ", 7])
def test_a_session_id_is_text(session_id: Any) -> None:
    with pytest.raises(InvalidInput, match="session_id is the text"):
        DEWATERMARK.resolve_options({"session_id": session_id})


def test_a_picture_is_never_looked_for() -> None:
    picture = Record("key", "dewatermark", Snapshot("e", Status.QUEUED))
    with pytest.raises(Unsupported, match="no call to ask"):
        next(DEWATERMARK.query(picture))


def test_a_picture_to_refine_is_smaller() -> None:
    refined = DEWATERMARK.refinement(PICTURE, Session("s", None, 0), BRUSH, {})
    assert DEWATERMARK.capabilities_for(refined).images.max_side == 1920
    assert DEWATERMARK.capabilities_for(job()).images.max_side == 6000


# videos

SIGNED = "https://storage.googleapis.com/b/o?X-Goog-Signature=canary"
TICKET = answer({"task_id": "v-1", "upload_signed_url": SIGNED})
EXPIRED = answer(b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>canary</Message></Error>", 400)
FORBIDDEN = answer(b"<Error><Code>AccessDenied</Code></Error>", 403)
UNSIGNED = answer(b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>canary</StringToSign></Error>", 403)
STORED = answer(b"")


@pytest.mark.parametrize("reply", [b"", b"OK", b"[]", b"null", b'{"status": "CREATED"}', b'{"status": "PROCESSING"}'])
def test_whatever_a_good_answer_to_the_submit_holds_the_video_is_queued(reply: bytes) -> None:
    end, _ = talked(DEWATERMARK.submit(VIDEO, None), TICKET, STORED, answer(reply))
    assert end == Snapshot("v-1", Status.QUEUED)


def test_the_id_is_known_before_the_upload_and_only_the_submit_is_paid() -> None:
    _, said = talked(DEWATERMARK.submit(VIDEO, None), TICKET, STORED, answer({}))
    upload, known, put, submit = said
    assert known == Snapshot("v-1", Status.UPLOADING)
    assert isinstance(upload, Request)
    assert isinstance(put, Request)
    assert isinstance(submit, Request)
    assert (upload.repeatable, put.repeatable, submit.repeatable) == (True, True, False)
    assert (upload.body, upload.signed, submit.signed) == (None, False, False)
    assert (put.method, put.target, put.signed, put.body) == ("PUT", SIGNED, True, VIDEO.media)
    assert "canary" not in repr(put)


@pytest.mark.parametrize(
    "expired", [EXPIRED, FORBIDDEN, answer(b"", 403)], ids=["ExpiredToken", "AccessDenied", "bare"]
)
def test_an_expired_link_is_asked_for_anew_twice_and_no_more(expired: Response) -> None:
    other = answer({"task_id": "v-2", "upload_signed_url": SIGNED})
    end, said = talked(DEWATERMARK.submit(VIDEO, None), TICKET, expired, other, expired, other, STORED, answer({}))
    assert end == Snapshot("v-2", Status.QUEUED)
    assert [step.task_id for step in said if isinstance(step, Snapshot)] == ["v-1", "v-2", "v-2"]
    submit = said[-1]
    assert isinstance(submit, Request)
    assert isinstance(submit.body, Multipart)
    assert submit.body.fields == {"task_id": "v-2"}
    with pytest.raises(TransferFailed, match="refused the upload"):
        talked(DEWATERMARK.submit(VIDEO, None), TICKET, expired, TICKET, expired, TICKET, expired)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (UNSIGNED, "HTTP 403 SignatureDoesNotMatch"),
        (answer(b"<Error><Code>EntityTooLarge</Code></Error>", 400), "HTTP 400 EntityTooLarge"),
        (answer(b"canary", 503), "HTTP 503"),
        (answer(b"", 302), "HTTP 302"),
    ],
)
def test_another_refusal_ends_the_upload_and_shows_its_code_and_nothing_secret(refusal: Response, code: str) -> None:
    with pytest.raises(TransferFailed) as caught:
        talked(DEWATERMARK.submit(VIDEO, None), TICKET, refusal)
    assert str(caught.value).endswith(code)
    assert "canary" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    "payload", [{}, {"task_id": "v"}, {"task_id": "v", "upload_signed_url": "http://["}, {"upload_signed_url": SIGNED}]
)
def test_a_ticket_without_an_id_or_a_link_is_none(payload: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        talked(DEWATERMARK.submit(VIDEO, None), answer(payload))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (403, InsufficientCredits), (500, ProviderUnavailable)]
)
def test_the_submit_of_a_video_may_be_refused(status: int, kind: type[WatermarkError]) -> None:
    with pytest.raises(kind):
        talked(DEWATERMARK.submit(VIDEO, None), TICKET, STORED, answer({}, status))


def looked(**words: Any) -> Snapshot:
    end, _ = talked(DEWATERMARK.query(RECORD), answer(words))
    assert isinstance(end, Snapshot)
    return end


@pytest.mark.parametrize(
    ("status", "means"),
    [
        ("CREATED", Status.QUEUED),
        ("PROCESSING", Status.RUNNING),
        ("processing", Status.RUNNING),
        ("ANYTHING", Status.RUNNING),
        ("FAILED", Status.FAILED),
        ("TIMEOUT", Status.FAILED),
        ("COMPLETED", Status.SUCCEEDED),
        ("completed", Status.SUCCEEDED),
    ],
)
def test_where_a_video_stands(status: str, means: Status) -> None:
    assert looked(status=status, download_signed_url=SIGNED).status is means


@pytest.mark.parametrize(
    ("progress", "taken"), [(0.25, 0.25), ("0.25", 0.25), (None, None), ("?", None), (7, 1.0), ([], None)]
)
def test_progress_is_a_share_and_a_strange_one_costs_nothing(progress: Any, taken: float | None) -> None:
    assert looked(status="PROCESSING", progress=progress).progress == taken


def test_the_details_of_a_finished_video() -> None:
    snapshot = looked(
        status="COMPLETED", download_signed_url=SIGNED, duration="51.3", has_watermark=False, completed_at=1763794728
    )
    details = {"has_watermark": False, "duration": 51.3, "cost": 10.26, "expires_at": 1763794728 + 2 * 86_400}
    assert snapshot.details == details
    assert "canary" not in repr(snapshot)


@pytest.mark.parametrize("strange", [None, "?", [], {}, "2025-11-22T06:58:48Z"])
def test_strange_details_cost_no_result(strange: Any) -> None:
    snapshot = looked(
        status="COMPLETED", download_signed_url=SIGNED, duration=strange, has_watermark=strange, completed_at=strange
    )
    assert (snapshot.status, snapshot.details) == (Status.SUCCEEDED, {})


def test_the_price_is_a_setting() -> None:
    flow = Dewatermark("key", credits_per_second=0.5).query(RECORD)
    end, _ = talked(flow, answer({"status": "COMPLETED", "download_signed_url": SIGNED, "duration": 10}))
    assert end.details["cost"] == 5.0


@pytest.mark.parametrize("link", [None, "", "http://["])
def test_a_finished_video_without_a_link_is_no_result(link: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="has no link"):
        looked(status="COMPLETED", download_signed_url=link)


@pytest.mark.parametrize(
    "payload", [{"data": None}, {"data": {}}, {"status": "OK"}, {"data": {"available_credit": None}}]
)
def test_credits_that_say_nothing_are_unexpected(payload: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        talked(DEWATERMARK.credits(), answer(payload))


def test_credits_may_be_text() -> None:
    end, _ = talked(DEWATERMARK.credits(), answer({"status": "OK", "data": {"available_credit": "12.5"}}))
    assert end.available == 12.5
