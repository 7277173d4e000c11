"""Redactor: the form of an answer stays, and nothing secret does, in whatever form it stands there."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiowatermark import Kaze, PhotoEraser
from aiowatermark.cli.record.redactor import Redactor, encodings
from aiowatermark.wire import LongText, Response
from tests.support.recordings import find_secrets, forms

KEY = "Zk3w9-canary/+=7Qx&pL2vT8"
SIGNED = "https://cdn.example.net/a/b.jpg?Expires=1764292968&Signature=9fQ%2Fcanary%2B77c1ab02e4"


@pytest.fixture
def provider() -> Kaze:
    return Kaze(KEY)


@pytest.fixture
def redactor(provider: Kaze) -> Redactor:
    return Redactor.for_provider(provider)


@pytest.mark.parametrize("form", [*sorted(forms(KEY)), f"Bearer {KEY}", f'{{"a": "{KEY}"}}', f"{KEY[:12]} {KEY[12:]}"])
def test_a_key_is_left_out_of_values_and_names_in_every_form(provider: Kaze, redactor: Redactor, form: str) -> None:
    payload = {"message": f"the key {form} is wrong", form: 1, "list": [form, [form]], "nested": {"text": form}}
    shown = json.dumps(redactor.value(payload))
    assert not find_secrets(shown, {"key": KEY})
    assert "canary" not in shown


def test_what_redaction_misses_is_found_in_the_finished_text(redactor: Redactor) -> None:
    assert all(redactor.leaks(f"before{form}after") for form in encodings(KEY))
    assert not redactor.leaks("nothing of that kind")


def test_both_parts_of_a_pair_and_what_is_sent_of_them_are_secrets() -> None:
    provider = PhotoEraser("canary-app-1", "canary-secret-2")
    redactor = Redactor.for_provider(provider)
    basic = b64encode(b"canary-app-1:canary-secret-2").decode()
    assert all(redactor.leaks(text) for text in ("canary-app-1", "canary-secret-2", basic))
    assert not redactor.leaks("application/json")


def test_the_form_of_an_answer_stays(redactor: Redactor) -> None:
    answer = {"status": 200, "data": {"state": 1, "progress": 0.5, "done": True, "error": None, "text": "Complete"}}
    assert redactor.value(answer) == answer


def test_an_id_is_the_same_text_everywhere_and_keeps_its_type(redactor: Redactor) -> None:
    shown = redactor.value({"task_id": "9f1c-77", "data": {"taskId": "9f1c-77", "user_id": 815815}})
    assert shown == {"task_id": "task_id-1", "data": {"taskId": "task_id-1", "user_id": 1_000_002}}
    assert redactor.target("/v1/task/9f1c-77?x=1") == "/v1/task/task_id-1"
    assert redactor.text("no task 9f1c-77 of 815815!") == "no task task_id-1 of 1000002!"


@pytest.mark.parametrize(
    "name", ["api_key", "token", "push_notification_token", "email", "phone", "username", "Authorization", "account"]
)
def test_values_below_a_secret_name_are_hidden(redactor: Redactor, name: str) -> None:
    shown = redactor.value({name: "x", "outer": {name: {"a": "Anna", "b": [1, "two"], "c": None}}})
    assert shown == {name: "REDACTED", "outer": {name: {"a": "REDACTED", "b": ["REDACTED", "REDACTED"], "c": None}}}


def test_a_url_loses_its_path_query_and_user_and_is_the_same_for_the_same_file(redactor: Redactor) -> None:
    first = redactor.url(SIGNED)
    assert first == "https://cdn.example.net/file-1.jpg"
    assert redactor.url(SIGNED.replace("1764292968", "1764299999")) == first
    assert redactor.value({"signed_url": SIGNED}) == {"signed_url": first}
    assert redactor.text(f"see {SIGNED}.") == f"see {redactor.url('https://cdn.example.net/a/b.jpg')}"
    assert redactor.url("https://anna:pw@cdn.example.net/x/y.png") == "https://cdn.example.net/file-2.png"


def test_a_signature_is_left_out_of_other_texts_once_it_was_seen(redactor: Redactor) -> None:
    redactor.url(SIGNED)
    text = redactor.text("<SignatureProvided>9fQ/canary+77c1ab02e4</SignatureProvided>")
    assert "canary" not in text
    assert redactor.leaks("9fQ/canary+77c1ab02e4")


@pytest.mark.parametrize("url", ["http://127.0.0.1:81/a.jpg", "http://[::1]/a.jpg", "http://localhost/a.jpg"])
def test_an_address_of_a_machine_is_not_shown(redactor: Redactor, url: str) -> None:
    assert redactor.url(url) == "http://host.example.com/file-1.jpg"


@pytest.mark.parametrize("url", ["http://[", "https://", "http://host:port:1/", "https://a/" + "%" * 50])
def test_an_invalid_url_raises_nothing(redactor: Redactor, url: str) -> None:
    assert "%" not in redactor.text(url)


def test_the_users_urls_are_replaced_with_their_hosts(redactor: Redactor) -> None:
    redactor.replace_url("https://private.anna.net/album/me.jpg?k=1", "https://example.com/image-1.jpg")
    assert redactor.url("https://private.anna.net/album/me.jpg?k=2") == "https://example.com/image-1.jpg"
    shown = redactor.text("cannot fetch https://private.anna.net/album/me.jpg?k=1 from private.anna.net")
    assert shown == "cannot fetch https://example.com/image-1.jpg from example.com"


def test_media_are_described_by_length_and_digest(redactor: Redactor) -> None:
    small, text = b64encode(bytes(60)).decode(), "x" * 70
    long = Response(200, {}, b'{"image": "@1"}', {"@1": LongText(4, b"long")})
    shown: dict[str, Any] = redactor.value({"image": small, "odd": text})
    assert shown["image"].startswith("<60-bytes,blake2b-")
    assert shown["odd"].startswith("<")
    assert redactor.answer(long)["image"].startswith("<4-bytes,blake2b-")


def test_words_that_look_like_keys_are_hidden_and_other_words_are_not(redactor: Redactor) -> None:
    text = "SignatureDoesNotMatch InsufficientCredits 2026-11-28 abcdef0123456789abcdef 8f14e45f-ceea-467f"
    assert redactor.text(text) == "SignatureDoesNotMatch InsufficientCredits 2026-11-28 … …"


def test_headers_keep_their_names_and_the_values_that_tell_limits(redactor: Redactor) -> None:
    headers = {"Retry-After": "3", "X-RateLimit-Remaining": "1", "Set-Cookie": "sid=abc", "X-Request-Id": "77"}
    assert redactor.headers(headers) == {
        "retry-after": "3",
        "set-cookie": "REDACTED",
        "x-ratelimit-remaining": "1",
        "x-request-id": "REDACTED",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[" * 5000,
        b"[" * 450 + b"]" * 450,
        b"[" * 900 + b"]" * 900,
        b"\xff\xfe\x00",
        b'"text"',
        b"null",
        b"NaN",
    ],
)
def test_a_body_that_is_not_json_raises_nothing(redactor: Redactor, body: bytes) -> None:
    json.dumps(redactor.body(body))


EMBEDDED = st.builds(
    lambda before, form, after: f"{before}{form}{after}", st.text(), st.sampled_from([*forms(KEY)]), st.text()
)
NAMES = st.sampled_from(["message", "task_id", "data", "token", "url", "x"]) | EMBEDDED
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | EMBEDDED,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from(["", "https://cdn.example.net/a?x=", '{"a": "', "data:image/png;base64,"]))
@settings(max_examples=100, deadline=None)
def test_no_value_with_a_key_anywhere_in_it_keeps_the_key(value: Any, prefix: str) -> None:
    provider = Kaze(KEY)
    redactor = Redactor.for_provider(provider)
    body = json.dumps({"value": value, "prefixed": f"{prefix}{KEY}"}).encode()
    for shown in (redactor.body(body), redactor.value(value), redactor.body(b"text " + body)):
        text = json.dumps(shown, ensure_ascii=False)
        assert not redactor.leaks(text), text
        assert not find_secrets(text, {"key": KEY}), text
        assert "canary" not in text
