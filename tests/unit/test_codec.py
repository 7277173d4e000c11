"""The strict converter: values are accepted unchanged or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen

from aiowatermark.codec import NumberLike, TextLike, parse
from aiowatermark.errors import UnexpectedAnswer
from aiowatermark.wire import Response


@frozen
class Inner:
    url: str


@frozen
class Answer:
    name: str
    count: int | None = None
    ratio: float | None = None
    on: bool | None = None
    number: NumberLike | None = None
    text: TextLike | None = None
    inner: Inner | None = None
    many: list[Inner] | None = None


def test_a_documented_answer_is_parsed_without_conversion() -> None:
    payload = {
        "name": "n",
        "count": 1,
        "ratio": 1,
        "on": True,
        "inner": {"url": "u"},
        "many": [{"url": "a"}, {"url": "b"}],
    }
    assert parse(payload, Answer) == Answer("n", 1, 1.0, True, inner=Inner("u"), many=[Inner("a"), Inner("b")])


def test_unknown_keys_are_ignored_and_missing_keys_have_defaults() -> None:
    assert parse({"name": "n", "new": {"deep": [1]}, "count": None}, Answer) == Answer("n")


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "name",
        7,
        {},
        {"name": None},
        {"name": 7},
        {"name": ["n"]},
        {"name": "n", "count": "7"},
        {"name": "n", "count": True},
        {"name": "n", "count": 1.5},
        {"name": "n", "ratio": "1"},
        {"name": "n", "ratio": False},
        {"name": "n", "on": 1},
        {"name": "n", "on": "true"},
        {"name": "n", "inner": "u"},
        {"name": "n", "inner": []},
        {"name": "n", "inner": {}},
        {"name": "n", "many": [{"url": "a"}, "b"]},
        {"name": "n", "many": [None]},
    ],
)
def test_any_other_type_is_refused(payload: Any) -> None:
    with pytest.raises(UnexpectedAnswer, match="not as documented"):
        parse(payload, Answer)


@pytest.mark.parametrize(
    ("value", "expected"), [(7, 7.0), (7.5, 7.5), ("7", 7.0), (" 7.5 ", 7.5), ("-1", -1.0), (None, None)]
)
def test_a_number_may_be_given_as_text(value: Any, expected: float | None) -> None:
    assert parse({"name": "n", "number": value}, Answer).number == expected


def test_a_number_must_be_a_finite_number() -> None:
    invalid: list[Any] = [True, "", "seven", [], {}, "nan", "inf", float("nan"), float("-inf"), 10**400, "1e999"]
    for value in invalid:
        with pytest.raises(UnexpectedAnswer):
            parse({"name": "n", "number": value}, Answer)


@pytest.mark.parametrize(
    ("value", "expected"), [("a", "a"), ("", ""), (7, "7"), (12345678901234567890, "12345678901234567890")]
)
def test_a_text_may_be_given_as_a_number(value: Any, expected: str) -> None:
    assert parse({"name": "n", "text": value}, Answer).text == expected


@pytest.mark.parametrize("value", [True, [], {}])
def test_a_text_may_not_have_any_other_type(value: Any) -> None:
    with pytest.raises(UnexpectedAnswer):
        parse({"name": "n", "text": value}, Answer)


@pytest.mark.parametrize(
    "payload",
    [{"name": 7, "number": "canary"}, {"name": {"canary": 1}}, {"name": "n", "text": ["canary"]}, "canary", ["canary"]],
)
def test_an_error_shows_the_redacted_answer_and_no_value_of_it(payload: Any) -> None:
    reply = Response(200, {}, b'{"token": "canary", "what": "visible"}')
    with pytest.raises(UnexpectedAnswer) as caught:
        parse(payload, Answer, reply)
    assert "canary" not in str(caught.value)
    assert caught.value.answer == 'HTTP 200 {"token": "…", "what": "visible"}'


@pytest.mark.parametrize("depth", [500, 5_000, 200_000])
@pytest.mark.parametrize("nest", [lambda inner: {"name": inner}, lambda inner: [inner]], ids=["objects", "lists"])
def test_a_deeply_nested_answer_is_refused(depth: int, nest: Callable[[Any], Any]) -> None:
    payload: Any = "n"
    for _ in range(depth):
        payload = nest(payload)
    with pytest.raises(UnexpectedAnswer):
        parse({"name": payload}, Answer)
