"""Photo Eraser: states, matching of results with images, error codes and options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from aiowatermark.errors import (
    AuthenticationError,
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from aiowatermark.jobs import Job, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes, Link
from aiowatermark.media.signatures import LinkIdentity
from aiowatermark.providers.photoeraser import PhotoEraser
from aiowatermark.wire import Response
from tests.support.flows import drive_flow, drive_to_snapshot, first_request, response

ERASER = PhotoEraser("canary-a", "canary-b")
SOURCES = tuple(f"https://example.com/{number}.png?Signature=old" for number in range(3))


def record(*urls: str) -> Record:
    inputs = tuple(Link(url).identity for url in urls)
    return Record("key", "photoeraser", Snapshot("t-1", Status.QUEUED), inputs=inputs)


def query(data: Any, *urls: str) -> Snapshot:
    return drive_to_snapshot(ERASER.query(record(*urls)), response({"code": 0, "msg": "", "data": data}))


def finished(number: int, source: str | None = None, **fields: Any) -> dict[str, Any]:
    item = {"image_result": f"https://results.example.com/{number}.png?s=canary", "status": "3", "reason": "", **fields}
    return item if source is None else {**item, "image_url": source}


def matched(items: Any, *urls: str) -> list[str | None]:
    """Return the number of the result each input was matched with, or None for an error."""
    snapshot = query({"status": 3, "list": items}, *urls)
    numbers: list[str | None] = []
    for output in snapshot.outputs:
        assert (output.media is None) is not (output.error is None)
        assert output.media is None or isinstance(output.media, Link)
        numbers.append(None if output.media is None else output.media.url.partition("?")[0][-5:-4])
    return numbers


@pytest.mark.parametrize("status", [1, "1", 1.0, 0, 9, "0"])
@pytest.mark.parametrize(("wait", "hint"), [("5", 5.0), (5, 5.0), ("0.25", 0.25), (0, None), ("", None), (None, None)])
def test_status_and_wait_time_may_be_text_or_numbers(status: Any, wait: Any, hint: float | None) -> None:
    snapshot = query({"status": status, "wait_time": wait})
    assert (snapshot.status, snapshot.retry_after) == (Status.QUEUED, hint)


@pytest.mark.parametrize("wait", [-3, "soon", [], {}, True, "nan", "inf", 10**400])
def test_an_invalid_wait_time_is_ignored(wait: Any) -> None:
    body = json.dumps({"code": 0, "data": {"status": 2, "wait_time": wait}}).encode()
    end, _ = drive_flow(ERASER.query(record()), response(body))
    assert end == Snapshot("t-1", Status.RUNNING)
    assert end.retry_after is None


@pytest.mark.parametrize("status", [3, "3", 4, 5, 6])
@pytest.mark.parametrize("wait", ["30", 30, "", "soon", None, []])
def test_wait_time_is_ignored_on_a_finished_task(status: Any, wait: Any) -> None:
    snapshot = query({"status": status, "wait_time": wait, "list": [finished(1)]}, SOURCES[1])
    assert snapshot.status.terminal
    assert snapshot.retry_after is None


@pytest.mark.parametrize("pending", [None, [], {}, "", [None], [{"status": "", "image_result": None}]])
def test_the_list_of_a_pending_task_is_not_parsed(pending: Any) -> None:
    assert query({"status": "2", "list": pending}).status is Status.RUNNING


@pytest.mark.parametrize("data", [None, [], {}, {"status": None}, {"status": "running"}, {"status": 2.5}])
def test_an_answer_without_a_status_is_unexpected(data: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        query(data)


@pytest.mark.parametrize(
    ("status", "reason"), [(4, "failed"), ("5", "closed"), (6, "timed out"), (7, "status 7"), ("8", "status 8")]
)
def test_a_failed_task_has_a_reason(status: Any, reason: str) -> None:
    snapshot = query({"status": status, "list": []}, *SOURCES)
    assert snapshot.status is Status.FAILED
    assert snapshot.reason is not None
    assert reason in snapshot.reason


def test_a_failed_task_keeps_the_images_that_were_finished() -> None:
    items = [{"image_result": "", "status": 4, "reason": "too dark"}, finished(1)]
    snapshot = query({"status": 4, "list": items}, *SOURCES[:2])
    assert (snapshot.status, snapshot.reason) == (Status.FAILED, "too dark")
    assert snapshot.outputs[1].media is not None


def test_results_without_a_source_url_are_matched_by_position() -> None:
    assert matched([finished(0), finished(1), finished(2)], *SOURCES) == ["0", "1", "2"]


def test_a_repeated_source_url_decides_which_image_a_result_belongs_to_whatever_its_query() -> None:
    items = [finished(index, SOURCES[index].replace("old", "new")) for index in (2, 0, 1)]
    assert matched(items, *SOURCES) == ["0", "1", "2"]


def test_one_failed_image_does_not_fail_the_others() -> None:
    items = [finished(0), {"image_result": "", "status": "4", "reason": "too dark to see"}, finished(2)]
    snapshot = query({"status": "3", "list": items}, *SOURCES)
    assert snapshot.status is Status.SUCCEEDED
    error = snapshot.outputs[1].error
    assert isinstance(error, JobFailed)
    assert "too dark to see" in error.message


@pytest.mark.parametrize("status", [4, "4", "5", 6.0])
def test_an_image_with_a_failed_status_is_failed_even_with_a_url(status: Any) -> None:
    assert matched([finished(0, status=status), finished(1)], *SOURCES[:2]) == [None, "1"]


@pytest.mark.parametrize(
    "fields", [{"status": ""}, {"status": None}, {"status": "ok"}, {"reason": None}, {"reason": []}]
)
def test_an_image_with_a_url_and_a_malformed_status_is_finished(fields: Mapping[str, Any]) -> None:
    assert matched([finished(0, **fields)], SOURCES[0]) == ["0"]


@pytest.mark.parametrize("link", [None, "", "http://[", 7, "0.png"])
def test_an_image_without_a_url_does_not_fail_the_others(link: Any) -> None:
    assert matched([finished(0, image_result=link), finished(1)], *SOURCES[:2]) == [None, "1"]


def test_a_task_in_which_all_images_failed_has_failed() -> None:
    items = [{"status": "4", "reason": "first"}, {"status": "4", "reason": "second"}]
    snapshot = query({"status": 3, "list": items}, *SOURCES[:2])
    assert (snapshot.status, snapshot.reason, len(snapshot.outputs)) == (Status.FAILED, "first", 2)


@pytest.mark.parametrize("items", [None, [], {}, ""])
def test_a_finished_task_without_results_has_failed_for_every_image(items: Any) -> None:
    snapshot = query({"status": 3, "list": items}, *SOURCES)
    assert snapshot.status is Status.FAILED
    assert snapshot.reason
    assert [output.media for output in snapshot.outputs] == [None, None, None]


def test_an_image_submitted_twice_gets_both_of_its_results() -> None:
    items = [finished(1, SOURCES[1]), finished(0, SOURCES[0]), finished(2, SOURCES[0])]
    assert matched(items, SOURCES[0], SOURCES[0], SOURCES[1]) == ["0", "2", "1"]


def test_an_image_submitted_twice_may_share_one_result() -> None:
    items = [finished(1, SOURCES[1]), finished(0, SOURCES[0])]
    assert matched(items, SOURCES[0], SOURCES[1], SOURCES[0]) == ["0", "1", "0"]


def test_a_missing_result_is_an_error_of_its_image_if_the_others_have_their_source_url() -> None:
    assert matched([finished(2, SOURCES[2]), finished(0, SOURCES[0])], *SOURCES) == ["0", None, "2"]


def test_too_few_results_without_source_urls_are_assigned_to_no_image_and_listed_in_the_error() -> None:
    snapshot = query({"status": 3, "list": [finished(0), finished(1)]}, *SOURCES)
    assert [output.media for output in snapshot.outputs] == [None, None, None]
    for output in snapshot.outputs:
        assert output.error is not None
        assert "https://results.example.com/0.png" in output.error.message
        assert "canary" not in output.error.message


def test_an_extra_result_is_never_assigned_to_the_wrong_image() -> None:
    assert matched([finished(0), finished(1), finished(2)], *SOURCES[:2]) == [None, None]
    assert matched([finished(2, "https://example.com/unknown.png"), finished(0, SOURCES[0])], SOURCES[0]) == ["0"]


def test_a_rewritten_source_url_is_matched_by_position_if_the_others_are_in_order() -> None:
    rewritten = [finished(0, SOURCES[0]), finished(1, "https://cdn.example.net/copy.png"), finished(2, SOURCES[2])]
    assert matched(rewritten, *SOURCES) == ["0", "1", "2"]
    all_rewritten = [finished(index, f"https://cdn.example.net/{index}") for index in range(3)]
    assert matched(all_rewritten, *SOURCES) == ["0", "1", "2"]


def test_a_rewritten_source_url_among_results_out_of_order_is_not_matched() -> None:
    items = [
        finished(1, SOURCES[1]),
        finished(0, "https://cdn.example.net/a"),
        finished(2, "https://cdn.example.net/b"),
    ]
    assert matched(items, *SOURCES) == [None, "1", None]


SIGNED = "X-Amz-Algorithm=A&X-Amz-Credential=C&X-Amz-Date=D&X-Amz-Signature="
PHOTOS = tuple(f"https://example.com/photo?id={number}" for number in range(3))


def test_links_that_differ_in_their_queries_alone_are_told_apart() -> None:
    items = [finished(index, PHOTOS[index]) for index in (2, 0, 1)]
    assert matched(items, *PHOTOS) == ["0", "1", "2"]
    signed = [f"{url}&{SIGNED}old" for url in PHOTOS]
    items = [finished(index, f"{PHOTOS[index]}&{SIGNED}new") for index in (2, 0, 1)]
    assert matched(items, *signed) == ["0", "1", "2"]


def test_a_whole_link_counts_before_one_without_its_signature() -> None:
    first, second = (f"{PHOTOS[0]}&{SIGNED}{number}" for number in (1, 2))
    assert matched([finished(2, second), finished(1, first)], first, second) == ["1", "2"]


@pytest.mark.parametrize("repeated", ["https://example.com/photo", "https://example.com/photo?width=9"])
def test_a_result_that_may_belong_to_several_inputs_is_an_error_and_never_swapped(repeated: str) -> None:
    items = [finished(1, repeated), finished(0, repeated), finished(2, PHOTOS[2])]
    assert matched(items, *PHOTOS) == [None, None, "2"]
    assert matched([finished(0, repeated), finished(1, repeated)], *PHOTOS[:2]) == [None, None]


def test_a_second_result_for_one_input_is_not_given_to_another() -> None:
    assert matched([finished(0, SOURCES[0]), finished(1, SOURCES[0])], *SOURCES[:2]) == ["0", None]


def test_a_record_of_an_earlier_version_is_matched_where_that_is_certain() -> None:
    def matched_as_before(items: Any, *urls: str) -> list[str | None]:
        inputs = tuple(LinkIdentity.of(url).bare for url in urls)
        before = Record("key", "photoeraser", Snapshot("t-1", Status.QUEUED), inputs=inputs)
        answer = response({"code": 0, "data": {"status": 3, "list": items}})
        media = [output.media for output in drive_to_snapshot(ERASER.query(before), answer).outputs]
        return [each.url.partition("?")[0][-5:-4] if isinstance(each, Link) else None for each in media]

    items = [finished(1, SOURCES[1]), finished(0, SOURCES[0])]
    assert matched_as_before(items, *SOURCES[:2]) == ["0", "1"]
    assert matched_as_before([finished(1, PHOTOS[1]), finished(0, PHOTOS[0])], *PHOTOS[:2]) == [None, None]
    assert matched_as_before([finished(0, PHOTOS[0]), finished(1, PHOTOS[0])], PHOTOS[0], PHOTOS[0]) == ["0", "1"]


def test_without_known_inputs_the_results_keep_their_order() -> None:
    assert matched([finished(2, SOURCES[2]), finished(0, SOURCES[0])]) == ["2", "0"]


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (490027, InsufficientCredits),
        ("490027", InsufficientCredits),
        (400, Rejected),
        (401, AuthenticationError),
        (429, RateLimited),
        (500, ProviderUnavailable),
        (430001, Rejected),
        (500123, ProviderUnavailable),
        (1, UnexpectedAnswer),
        (-1, UnexpectedAnswer),
        ("oops", UnexpectedAnswer),
        ([], UnexpectedAnswer),
    ],
)
def test_a_code_other_than_0_is_an_error(code: Any, error_class: type[WatermarkError]) -> None:
    job = Job((Link(SOURCES[0]),), Link(SOURCES[1]), ERASER.resolve_options({}))
    with pytest.raises(WatermarkError) as caught:
        drive_flow(ERASER.submit(job, None), response({"code": code, "msg": "", "data": {"task_id": "t"}}))
    assert type(caught.value) is error_class


def test_an_insufficient_balance_is_detected_by_its_code_whatever_the_http_status() -> None:
    job = Job((Link(SOURCES[0]),), Link(SOURCES[1]), ERASER.resolve_options({}))
    with pytest.raises(InsufficientCredits):
        drive_flow(ERASER.submit(job, None), response({"code": 490027}, 400))
    with pytest.raises(Rejected):
        drive_flow(ERASER.submit(job, None), response(b"<html>", 400))


def test_a_file_is_refused_and_not_omitted() -> None:
    job = Job((Link(SOURCES[0]), Bytes(b"x")), Link(SOURCES[1]), ERASER.resolve_options({}))
    with pytest.raises(Unsupported, match="URLs only"):
        next(ERASER.submit(job, None))


@pytest.mark.parametrize("priority", range(10))
def test_priorities_0_to_9_are_accepted(priority: int) -> None:
    assert ERASER.resolve_options({"priority": priority}) == {"priority": priority}


@pytest.mark.parametrize("priority", [10, -1, "3", 1.0, True, None])
def test_any_other_priority_is_refused(priority: Any) -> None:
    with pytest.raises(InvalidInput, match="priority must be a whole number from 0 to 9"):
        ERASER.resolve_options({"priority": priority})


def test_the_task_id_is_escaped_in_the_path() -> None:
    request = first_request(ERASER.query(Record("key", "photoeraser", Snapshot("a/b?c", Status.QUEUED))))
    assert request.target == "/v3/pic/rw/result/a%2Fb%3Fc"


def test_there_is_a_host_in_china() -> None:
    assert PhotoEraser("a", "b", base_url=PhotoEraser.CHINA).base_url == "https://wsai-api.wondershare.cn"


# codes of the family, and its trace_id


def submit(reply: Response) -> Snapshot:
    links = (Link(SOURCES[0]),)
    return drive_to_snapshot(ERASER.submit(Job(links, Link(SOURCES[1]), ERASER.resolve_options({})), None), reply)


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (490027, InsufficientCredits),
        ("490505", InsufficientCredits),
        (374004, AuthenticationError),
        (490000, Rejected),
        (680000, Rejected),
        (689999, Rejected),
        (6812, UnexpectedAnswer),
        (374005, UnexpectedAnswer),
        (500001, ProviderUnavailable),
    ],
)
def test_a_code_is_understood_by_its_number_or_its_family(code: Any, error_class: type[Exception]) -> None:
    with pytest.raises(WatermarkError) as caught:
        submit(response({"code": code, "msg": "no", "data": {}, "trace_id": "trace-7"}))
    assert type(caught.value) is error_class
    assert "trace_id trace-7" in caught.value.message


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_known_code_says_more_than_the_http_status(status: int) -> None:
    with pytest.raises(InsufficientCredits):
        submit(response({"code": 490505, "msg": "no", "data": {}}, status))


def test_the_trace_id_of_an_answer_is_in_the_details() -> None:
    accepted = submit(response({"code": 0, "data": {"task_id": "t-1", "trace_id": "trace-1"}}))
    payload = {"code": 0, "trace_id": "trace-2", "data": {"status": 6, "list": []}}
    ended, _ = drive_flow(ERASER.query(record()), response(payload))
    assert accepted.details == {"trace_id": "trace-1"}
    assert ended.details == {"trace_id": "trace-2", "retryable": True}


@pytest.mark.parametrize("trace_id", [None, "", 10**300, "a\nb", "x" * 201, [], {}, True])
def test_a_trace_id_that_cannot_be_one_is_left_out(trace_id: Any) -> None:
    assert not submit(response({"code": 0, "data": {"task_id": "t-1"}, "trace_id": trace_id})).details
