"""Unknowns: each row is told apart as known or not by what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from aiowatermark import provider_names
from aiowatermark.cli.record.paths import PATHS
from aiowatermark.cli.record.unknowns import COMMON_UNKNOWNS, UNKNOWNS, answer_unknowns


def document(provider: str, *entries: Mapping[str, Any], callbacks: tuple[Mapping[str, Any], ...] = ()) -> Any:
    return {"recorded": {"provider": provider}, "cassettes": entries, "unplayed": [], "callbacks": callbacks}


def entry(name: str, answer: Any, *, call: str = "query", status: int = 200, **fields: Any) -> Mapping[str, Any]:
    exchange = {"status": status, "answer": answer, "headers": fields.pop("headers", {})}
    return {"name": f"{name}: {call}", "call": call, "exchanges": [exchange], **fields}


def evidence(recorded: Any, question: str) -> str | None:
    (finding,) = [each for each in answer_unknowns(recorded) if each.question.startswith(question)]
    return finding.evidence if finding.known else None


@pytest.mark.parametrize("name", sorted(UNKNOWNS))
def test_an_empty_recording_tells_nothing(name: str) -> None:
    findings = answer_unknowns(document(name))
    assert len(findings) == len(UNKNOWNS[name]) + len(COMMON_UNKNOWNS)
    assert not [finding for finding in findings if finding.known]


@pytest.mark.parametrize("name", sorted(UNKNOWNS))
@pytest.mark.parametrize(
    "answer", [None, 7, "text", [], {"data": None}, {"data": 7}, {"data": {"list": {}, "state": 1}}]
)
def test_an_answer_of_another_form_raises_nothing(name: str, answer: Any) -> None:
    assert answer_unknowns(document(name, *(entry(path.name, answer) for path in PATHS[name])))


def test_every_provider_has_paths_and_unknowns() -> None:
    assert set(PATHS) == set(UNKNOWNS) == set(provider_names())


@pytest.mark.parametrize("name", sorted(UNKNOWNS))
def test_the_paths_that_an_unknown_names_exist(name: str) -> None:
    paths = {path.name for path in PATHS[name]}
    for unknown in UNKNOWNS[name]:
        assert {path.partition(" ")[0] for path in unknown.paths} <= paths, unknown


@pytest.mark.parametrize(
    ("provider", "question", "recorded", "expected"),
    [
        ("picwish", "whether a finished task says what", {"data": {"state": 1, "use_point": 2}}, "data.use_point: 2"),
        ("picwish", "whether a finished task says what", {"data": {"state": 1}}, "in none of 1 answers"),
        ("picwish", "whether a finished task says what", {"data": {"state": 4, "use_point": 2}}, None),
        ("kaze", "whether the answer to a query has a code", {"code": 0}, "code: 0"),
        ("kaze", "where err_msg is", {"err_msg": "x", "data": {"status": "failed"}}, "err_msg: 'x'"),
        ("kaze", "where err_msg is", {"data": {"status": "timeout", "err_msg": "x"}}, "data.err_msg: 'x'"),
        ("kaze", "where err_msg is", {"err_msg": "", "data": {"status": "success"}}, None),
        (
            "photoeraser",
            "whether an item of a result",
            {"data": {"list": [{"status": 3}, {"image_url": "u"}]}},
            "data.list[].image_url: 'u'",
        ),
        ("photoeraser", "whether an item of a result", {"data": {"list": []}}, None),
        ("photoeraser", "type of wait_time", {"data": {"wait_time": 5}}, "data.wait_time: 5"),
        (
            "gptge",
            "keys in answers that no document names",
            {"data": {"use_point": 1}, "x": [{"y": 1}]},
            "data.use_point, x, x[].y",
        ),
        ("gptge", "keys in answers that no document names", "text", "none in 1 answers"),
    ],
)
def test_a_query_tells(provider: str, question: str, recorded: Any, expected: str | None) -> None:
    assert evidence(document(provider, entry("submit-file", recorded)), question) == expected


@pytest.mark.parametrize("name", sorted(UNKNOWNS))
def test_refusals_tell_the_bodies_of_errors(name: str) -> None:
    refused = entry("bad-key", {"message": "no"}, call="submit", status=401)
    empty = entry("submit-file", {"code": 1}, call="submit", status=403, error="InsufficientCredits")
    recorded = document(name, refused, empty)
    assert evidence(recorded, "answer to a key that is not valid") == "HTTP 401 {'message': 'no'}"
    assert evidence(recorded, "answer to an account without credits") == "HTTP 403 {'code': 1}"


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (429, {"retry-after": "3"}, "HTTP 429, Retry-After: 3"),
        (503, {}, "HTTP 503 without Retry-After"),
        (200, {}, None),
    ],
)
def test_a_refusal_for_haste_tells_retry_after(status: int, headers: Mapping[str, str], expected: str | None) -> None:
    recorded = document("kaze", entry("submit-file", {}, status=status, headers=headers))
    assert evidence(recorded, "Retry-After") == expected


def test_the_field_of_the_result_of_a_mask_is_told() -> None:
    recorded = document("gptge", entry("mask", {"data": {"state": 1, "image": "u", "file": ""}}))
    assert evidence(recorded, "field of the result of a call with a mask") == "data.image"


def test_a_callback_tells_method_body_and_headers() -> None:
    callback = {
        "method": "PUT",
        "headers": {"x-sign": "REDACTED"},
        "content_type": "application/json",
        "body": {"a": 1},
    }
    recorded = document("gptge", callbacks=(callback, callback))
    assert evidence(recorded, "callback: method") == "PUT; 2 received"
    assert evidence(recorded, "callback: form") == "application/json: {'a': 1}"
    assert evidence(recorded, "callback: headers") == "x-sign"
