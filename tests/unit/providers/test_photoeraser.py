"""The traps of Photo Eraser."""

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
from aiowatermark.providers.photoeraser import PhotoEraser
from aiowatermark.wire import Request
from tests.support.flows import answer, talked

ERASER = PhotoEraser("canary-a", "canary-b")
SOURCES = tuple(f"https://example.com/{number}.png?Signature=old" for number in range(3))


def record(*urls: str) -> Record:
    inputs = tuple(Link(url).identity for url in urls)
    return Record("key", "photoeraser", Snapshot("t-1", Status.QUEUED), inputs=inputs)


def looked(data: Any, *urls: str) -> Snapshot:
    end, _ = talked(ERASER.query(record(*urls)), answer({"code": 0, "msg": "", "data": data}))
    assert isinstance(end, Snapshot)
    return end


def done(number: int, source: str | None = None, **words: Any) -> dict[str, Any]:
    item = {"image_result": f"https://results.example.com/{number}.png?s=canary", "status": "3", "reason": "", **words}
    return item if source is None else {**item, "image_url": source}


def ended(items: Any, *urls: str) -> list[str | None]:
    """The number of the result each input got, or None for an error."""
    snapshot = looked({"status": 3, "list": items}, *urls)
    found: list[str | None] = []
    for output in snapshot.outputs:
        assert (output.media is None) is not (output.error is None)
        assert output.media is None or isinstance(output.media, Link)
        found.append(None if output.media is None else output.media.url.partition("?")[0][-5:-4])
    return found


@pytest.mark.parametrize("status", [1, "1", 1.0, 0, 7, "0"])
@pytest.mark.parametrize(("wait", "hint"), [("5", 5.0), (5, 5.0), ("0.25", 0.25), (0, None), ("", None), (None, None)])
def test_status_and_wait_time_come_as_text_or_numbers(status: Any, wait: Any, hint: float | None) -> None:
    snapshot = looked({"status": status, "wait_time": wait})
    assert (snapshot.status, snapshot.retry_after) == (Status.QUEUED, hint)


@pytest.mark.parametrize("wait", [-3, "soon", [], {}, True, "nan", "inf", 10**400])
def test_a_strange_wait_time_is_no_hint(wait: Any) -> None:
    body = json.dumps({"code": 0, "data": {"status": 2, "wait_time": wait}}).encode()
    end, _ = talked(ERASER.query(record()), answer(body))
    assert end == Snapshot("t-1", Status.RUNNING)
    assert end.retry_after is None


@pytest.mark.parametrize("status", [3, "3", 4, 5, 6])
@pytest.mark.parametrize("wait", ["30", 30, "", "soon", None, []])
def test_wait_time_is_ignored_on_a_finished_task(status: Any, wait: Any) -> None:
    snapshot = looked({"status": status, "wait_time": wait, "list": [done(1)]}, SOURCES[1])
    assert snapshot.status.terminal
    assert snapshot.retry_after is None


@pytest.mark.parametrize("pending", [None, [], {}, "", [None], [{"status": "", "image_result": None}]])
def test_the_list_of_a_pending_task_is_not_looked_at(pending: Any) -> None:
    assert looked({"status": "2", "list": pending}).status is Status.RUNNING


@pytest.mark.parametrize("data", [None, [], {}, {"status": None}, {"status": "running"}, {"status": 2.5}])
def test_a_look_that_tells_nothing_raises(data: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        looked(data)


@pytest.mark.parametrize(("status", "reason"), [(4, "failed"), ("5", "closed"), (6, "timed out")])
def test_a_failed_task_says_how(status: Any, reason: str) -> None:
    snapshot = looked({"status": status, "list": []}, *SOURCES)
    assert snapshot.status is Status.FAILED
    assert snapshot.reason is not None
    assert reason in snapshot.reason


def test_a_failed_task_keeps_what_it_did_before_it_failed() -> None:
    items = [{"image_result": "", "status": 4, "reason": "too dark"}, done(1)]
    snapshot = looked({"status": 4, "list": items}, *SOURCES[:2])
    assert (snapshot.status, snapshot.reason) == (Status.FAILED, "too dark")
    assert snapshot.outputs[1].media is not None


def test_results_are_in_the_requests_order_where_nothing_else_is_said() -> None:
    assert ended([done(0), done(1), done(2)], *SOURCES) == ["0", "1", "2"]


def test_an_echoed_source_decides_whose_a_result_is_whatever_its_query() -> None:
    items = [done(at, SOURCES[at].replace("old", "new")) for at in (2, 0, 1)]
    assert ended(items, *SOURCES) == ["0", "1", "2"]


def test_a_single_failed_picture_fails_alone() -> None:
    items = [done(0), {"image_result": "", "status": "4", "reason": "canary of a reason"}, done(2)]
    snapshot = looked({"status": "3", "list": items}, *SOURCES)
    assert snapshot.status is Status.SUCCEEDED
    error = snapshot.outputs[1].error
    assert isinstance(error, JobFailed)
    assert "canary of a reason" in error.message


@pytest.mark.parametrize("status", [4, "4", "5", 6.0])
def test_a_failed_picture_with_a_link_is_failed(status: Any) -> None:
    assert ended([done(0, status=status), done(1)], *SOURCES[:2]) == [None, "1"]


@pytest.mark.parametrize(
    "words", [{"status": ""}, {"status": None}, {"status": "ok"}, {"reason": None}, {"reason": []}]
)
def test_a_picture_with_a_link_and_strange_words_is_done(words: Mapping[str, Any]) -> None:
    assert ended([done(0, **words)], SOURCES[0]) == ["0"]


@pytest.mark.parametrize("link", [None, "", "http://[", 7, "0.png"])
def test_a_picture_without_a_link_fails_alone(link: Any) -> None:
    assert ended([done(0, image_result=link), done(1)], *SOURCES[:2]) == [None, "1"]


def test_a_task_of_which_all_pictures_failed_has_failed() -> None:
    items = [{"status": "4", "reason": "first"}, {"status": "4", "reason": "second"}]
    snapshot = looked({"status": 3, "list": items}, *SOURCES[:2])
    assert (snapshot.status, snapshot.reason, len(snapshot.outputs)) == (Status.FAILED, "first", 2)


@pytest.mark.parametrize("nothing", [None, [], {}, ""])
def test_a_finished_task_without_results_has_failed_for_every_picture(nothing: Any) -> None:
    snapshot = looked({"status": 3, "list": nothing}, *SOURCES)
    assert snapshot.status is Status.FAILED
    assert snapshot.reason
    assert [output.media for output in snapshot.outputs] == [None, None, None]


def test_the_same_picture_twice_gets_both_of_its_results() -> None:
    items = [done(1, SOURCES[1]), done(0, SOURCES[0]), done(2, SOURCES[0])]
    assert ended(items, SOURCES[0], SOURCES[0], SOURCES[1]) == ["0", "2", "1"]


def test_the_same_picture_twice_may_have_one_result() -> None:
    items = [done(1, SOURCES[1]), done(0, SOURCES[0])]
    assert ended(items, SOURCES[0], SOURCES[1], SOURCES[0]) == ["0", "1", "0"]


def test_a_missing_result_is_missed_where_the_others_say_whose_they_are() -> None:
    assert ended([done(2, SOURCES[2]), done(0, SOURCES[0])], *SOURCES) == ["0", None, "2"]


def test_results_that_are_too_few_and_say_nothing_are_nobodys_and_named() -> None:
    snapshot = looked({"status": 3, "list": [done(0), done(1)]}, *SOURCES)
    assert [output.media for output in snapshot.outputs] == [None, None, None]
    for output in snapshot.outputs:
        assert output.error is not None
        assert "https://results.example.com/0.png" in output.error.message
        assert "canary" not in output.error.message


def test_a_result_more_than_pictures_is_never_given_to_the_wrong_one() -> None:
    assert ended([done(0), done(1), done(2)], *SOURCES[:2]) == [None, None]
    assert ended([done(2, "https://example.com/stranger.png"), done(0, SOURCES[0])], SOURCES[0]) == ["0"]


def test_an_echo_that_was_rewritten_is_placed_by_order_where_the_others_keep_theirs() -> None:
    rewritten = [done(0, SOURCES[0]), done(1, "https://cdn.example.net/copy.png"), done(2, SOURCES[2])]
    assert ended(rewritten, *SOURCES) == ["0", "1", "2"]
    assert ended([done(at, f"https://cdn.example.net/{at}") for at in range(3)], *SOURCES) == ["0", "1", "2"]


def test_an_echo_that_was_rewritten_among_others_out_of_order_is_nobodys() -> None:
    items = [done(1, SOURCES[1]), done(0, "https://cdn.example.net/a"), done(2, "https://cdn.example.net/b")]
    assert ended(items, *SOURCES) == [None, "1", None]


def test_without_the_inputs_the_results_come_as_they_are() -> None:
    assert ended([done(2, SOURCES[2]), done(0, SOURCES[0])]) == ["2", "0"]


@pytest.mark.parametrize(
    ("code", "kind"),
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
def test_a_code_that_is_not_0_refuses(code: Any, kind: type[WatermarkError]) -> None:
    job = Job((Link(SOURCES[0]),), Link(SOURCES[1]), ERASER.resolve_options({}))
    with pytest.raises(WatermarkError) as caught:
        talked(ERASER.submit(job, None), answer({"code": code, "msg": "", "data": {"task_id": "t"}}))
    assert type(caught.value) is kind


def test_an_empty_balance_is_known_by_its_code_whatever_the_http_status() -> None:
    job = Job((Link(SOURCES[0]),), Link(SOURCES[1]), ERASER.resolve_options({}))
    with pytest.raises(InsufficientCredits):
        talked(ERASER.submit(job, None), answer({"code": 490027}, 400))
    with pytest.raises(Rejected):
        talked(ERASER.submit(job, None), answer(b"<html>", 400))


def test_a_file_is_never_left_out_silently() -> None:
    job = Job((Link(SOURCES[0]), Bytes(b"x")), Link(SOURCES[1]), ERASER.resolve_options({}))
    with pytest.raises(Unsupported, match="links only"):
        next(ERASER.submit(job, None))


@pytest.mark.parametrize("priority", range(10))
def test_priorities_0_to_9_are_taken(priority: int) -> None:
    assert ERASER.resolve_options({"priority": priority}) == {"priority": priority}


@pytest.mark.parametrize("priority", [10, -1, "3", 1.0, True, None])
def test_any_other_priority_is_refused(priority: Any) -> None:
    with pytest.raises(InvalidInput, match="priority is a whole number from 0 to 9"):
        ERASER.resolve_options({"priority": priority})


def test_the_task_id_is_escaped_in_the_path() -> None:
    request = next(ERASER.query(Record("key", "photoeraser", Snapshot("a/b?c", Status.QUEUED))))
    assert isinstance(request, Request)
    assert request.target == "/v3/pic/rw/result/a%2Fb%3Fc"


def test_there_is_a_host_for_china() -> None:
    assert PhotoEraser("a", "b", base_url=PhotoEraser.CHINA).base_url == "https://wsai-api.wondershare.cn"
