"""Responses: Retry-After, JSON bodies and redacted excerpts."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowatermark.errors import UnexpectedAnswer
from aiowatermark.media.memory import Bytes
from aiowatermark.redaction import redacted_excerpt
from aiowatermark.wire import Base64, Delivery, Json, Multipart, Request, Response, join_sorted, parse_json

IMAGE = b64encode(b"\xff\xd8\xff\xe0" * 40_000).decode()
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


def reply(body: bytes = b"", status: int = 200, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        (" 3 ", 3.0),
        ("-5", 0.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2026 09:28:30 +0200", 30.0),
        ("999999999", 3600.0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 3600.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
    ],
)
def test_retry_after_is_in_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert reply(retry_after=text, date=DATE).retry_after == seconds


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 Oct 2026 07:28:00 GMT"])
def test_a_retry_after_date_is_ignored_without_a_valid_date_header(date: str | None) -> None:
    headers = {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"} | ({"date": date} if date is not None else {})
    assert Response(503, headers, b"").retry_after is None


def test_a_missing_retry_after_is_none() -> None:
    assert reply(date=DATE).retry_after is None


# JSON


@pytest.mark.parametrize(
    "body", [b"", b"null", b"7", b'"text"', b"[]", b"<html>", b"\xff\xfe\xff", b"{", b'{"a":' * 100_000]
)
def test_a_body_that_is_not_a_json_object_is_unexpected(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="not a JSON object"):
        reply(body).json()


def test_an_object_is_parsed_once() -> None:
    answer = reply(b'{"a": 1}')
    assert answer.json() == {"a": 1}
    assert answer.json() is answer.json()


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 4301, b"-" + b"9" * 100_000])
def test_numbers_that_are_none_do_not_spoil_the_rest(number: bytes) -> None:
    assert parse_json(b'{"a": ' + number + b', "b": 1}') == {"a": None, "b": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("text", ['{"a": "é"}', "{}", '[{"a": "水印"}]', ' {"a": 1}'])
def test_json_is_read_in_every_encoding_that_it_may_have(text: str, encoding: str) -> None:
    assert parse_json(text.encode(encoding)) == json.loads(text)


@pytest.mark.parametrize("depth", [100, 900, 2_000, 4_000, 8_000, 100_000])
def test_a_deeply_nested_answer_has_an_excerpt_without_its_secrets(depth: int) -> None:
    answer = reply(b'{"token":' * depth + b'"canary"' + b"}" * depth)
    assert answer.excerpt.startswith("HTTP 200")
    assert "canary" not in answer.excerpt


@given(st.binary(max_size=400))
def test_any_body_has_a_short_printable_excerpt(body: bytes) -> None:
    text = reply(body).excerpt
    assert len(text) <= 320
    assert text.isprintable()


# redaction


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "api_key",
        "X-API-KEY",
        "app_secret",
        "session_id",
        "upload_signed_url",
        "image_base64",
        "mask",
        "accessToken",
    ],
)
def test_values_with_secret_names_are_hidden_at_any_depth(key: str) -> None:
    for payload in (
        {key: "canary"},
        {"data": {key: "canary"}},
        {"data": [{key: "canary"}]},
        {key: ["canary"]},
        {key: {"a": "canary"}},
    ):
        assert "canary" not in redacted_excerpt(json.dumps(payload).encode())


@pytest.mark.parametrize(
    "payload",
    [
        {"edited_image": {"image": IMAGE}},
        {"images": [IMAGE]},
        {"data": IMAGE},
        {"data": [[IMAGE]]},
        [IMAGE],
        IMAGE,
        {"anything": "data:image/jpeg;base64," + IMAGE},
        {"file": "x" + IMAGE[:150_000]},
    ],
    ids=range(8),
)
@pytest.mark.parametrize("size", [300, 3_000, None])
def test_no_encoded_image_is_shown(payload: Any, size: int | None) -> None:
    text = json.dumps(payload).replace(IMAGE, IMAGE[:size])
    assert IMAGE[:40] not in redacted_excerpt(text.encode())


def test_an_encoded_image_outside_valid_json_is_not_shown() -> None:
    assert IMAGE[:40] not in redacted_excerpt(IMAGE.encode())
    assert "canary" not in redacted_excerpt(b'{"session_id": "canary", "image": "' + IMAGE.encode() + b'"}')
    assert "canary" not in redacted_excerpt(b'{"session_id": "canary", "image": "' + IMAGE.encode())


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com/a.png?Signature=canary",
        "https://example.com/a.png?x=1,2&Signature=canary",
        "https://example.com/a.png?x=(1)&Signature=canary",
        "https://example.com/a.png?x='&Signature=canary",
        "https://example.com/a.png?next=https://other.example.com/?s=canary",
        "https://user:canary@example.com/a.png",
    ],
)
def test_neither_query_nor_password_of_a_url_is_shown(link: str) -> None:
    for body in (json.dumps({"file": link}), f"see {link} for more", f"<a href={link}>", link, json.dumps([link])):
        text = redacted_excerpt(body.encode())
        assert "canary" not in text
        assert "example.com/a.png" in text


@pytest.mark.parametrize(
    "message", ["The link could not be fetched", "is that all? yes", "余额不足", "word and another " * 12]
)
def test_a_message_remains_readable(message: str) -> None:
    assert message[:100].strip() in redacted_excerpt(json.dumps({"status": 400, "message": message}).encode())


def test_an_excerpt_is_short_and_on_one_line() -> None:
    text = reply(("<p>line</p>\n\n" * 500).encode(), 502).excerpt
    assert text.startswith("HTTP 502 <p>line</p> <p>line</p>")
    assert "\n" not in text
    assert len(text) < 330


def test_no_repr_contains_a_body_or_a_query() -> None:
    link = "https://storage.example.com/b?sig=canary"
    media = Bytes(b"canary")
    values = [
        Request("PUT", link, media, signed=True),
        Request("POST", "/x", Json({"image": Base64(media), "key": "canary"})),
        Request("POST", "/x", Multipart({"url": link})),
        reply(b'"canary"'),
        Delivery(b"canary"),
        Base64(media),
    ]
    assert "canary" not in repr(values)


def test_names_are_joined_in_alphabetical_order() -> None:
    assert join_sorted({"b", "a"}) == "a, b"


@pytest.mark.parametrize("hostile", ["?" * 60_000, "?a=" * 20_000, "://" * 20_000, "://a@" * 12_000, "A" * 60_000])
@pytest.mark.parametrize("as_json", [True, False])
def test_only_the_beginning_of_a_long_answer_is_searched_for_secrets(hostile: str, as_json: bool) -> None:
    text = hostile + " the end"
    excerpt = redacted_excerpt(json.dumps({"message": text}).encode() if as_json else text.encode())
    assert len(excerpt) <= 300
    assert "the end" not in excerpt


def test_a_password_that_is_cut_off_is_not_shown() -> None:
    for length in range(1960, 2010):
        body = ("A" * length + " https://user:canary@host.example/path").encode()
        assert "canary" not in redacted_excerpt(body)
