"""Texts of somebody else: one clean line, without the account's key, callback keys and signatures, in linear time."""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiowatermark as aw
from aiowatermark import redaction
from aiowatermark.redaction import clean_text, redact_url, redacted_excerpt, redacted_location, short_text

KEY = "sk-Canary0123456789abcdefGHIJ"
CALLBACK_KEY = "rTQ3Zz_8d-abcdEFGHijkl0123mnopQR"
Encoding = Callable[[str], str]


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of their keys would be hidden while their accounts exist; some are constants of other modules."""
    monkeypatch.setattr("aiowatermark.redaction._secrets", redaction._Secrets())


ENCODINGS: dict[str, Encoding] = {
    "plain": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 of credentials": lambda text: b64encode(f"user:{text}".encode()).decode(),
    "url-safe base64": lambda text: urlsafe_b64encode(b"\xff" + text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent, twice": lambda text: quote("".join(f"%{byte:02X}" for byte in text.encode())),
    "HTML": lambda text: "".join(f"&#{byte};" for byte in text.encode()),
    "HTML, hexadecimal": lambda text: "".join(f"&#x{byte:x};" for byte in text.encode()),
    "JSON": lambda text: "".join(f"\\u{byte:04x}" for byte in text.encode()),
    "hexadecimal escapes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "full width": lambda text: "".join(chr(ord(char) + 0xFEE0) for char in text),
    "backwards": lambda text: text[::-1],
}


@pytest.fixture
def provider() -> aw.Provider:
    return aw.GptGe(KEY)


def shown_texts(text: str) -> list[str]:
    """Return everything that may be shown of an answer with this text."""
    bodies = [text.encode(), json.dumps({"message": text}).encode(), text.encode("utf-16")]
    return [
        *(redacted_excerpt(body) for body in bodies),
        clean_text(text),
        aw.Snapshot("task-1", aw.Status.FAILED, reason=text).reason or "",
    ]


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_the_accounts_key_is_not_shown_in_whatever_encoding_it_is_echoed(
    provider: aw.Provider, encode: Encoding
) -> None:
    for text in shown_texts(f"Incorrect API key: {encode(KEY)} was sent"):
        assert "Incorrect API key" in text
        for part in (encode(KEY)[index : index + 8] for index in range(len(encode(KEY)) - 7)):
            assert part.lower() not in text.lower()


@pytest.mark.parametrize("encode", [ENCODINGS[name] for name in ("plain", "upper case", "percent", "HTML", "JSON")])
def test_no_part_of_eight_characters_of_the_key_is_shown(provider: aw.Provider, encode: Encoding) -> None:
    for start in range(len(KEY) - 7):
        part = KEY[start : start + 8]
        for text in shown_texts(f"key …{encode(part)}… is wrong"):
            assert part.lower() not in text.lower()


@pytest.mark.parametrize("separator", [" ", "-", "\n", "\u200b", "\\", "…", "\0"])
def test_the_key_is_not_shown_with_its_characters_apart(provider: aw.Provider, separator: str) -> None:
    for text in shown_texts(f"key: {separator.join(KEY)}"):
        assert "c" not in text.partition("key:")[2].replace("message", "").lower()


@pytest.mark.parametrize("encode", [ENCODINGS[name] for name in ENCODINGS if name not in {"upper case", "lower case"}])
def test_a_callback_key_is_not_shown(encode: Encoding) -> None:
    for text in shown_texts(f"calling https://hooks.example/wm/{encode(CALLBACK_KEY)} failed"):
        assert CALLBACK_KEY not in html.unescape(text)
        assert encode(CALLBACK_KEY) not in text
        assert "hooks.example/wm" in text.lower()


def test_a_key_is_forgotten_with_its_provider() -> None:
    provider = aw.Kaze("forgettable-0815")
    assert "forgettable" not in clean_text("forgettable-0815")
    del provider
    assert clean_text("forgettable-0815") == "forgettable-0815"


def test_a_key_that_two_providers_share_is_hidden_until_both_are_gone() -> None:
    first, second = aw.Kaze("shared-key-4711"), aw.Kaze("shared-key-4711")
    del first
    assert "4711" not in clean_text("shared-key-4711")
    del second


def test_both_secrets_and_the_credentials_made_of_them_are_hidden() -> None:
    provider = aw.PhotoEraser("application-key-1", "application-secret-2")
    credentials = provider.headers["Authorization"].removeprefix("Basic ")
    for secret in ("application-key-1", "application-secret-2", credentials):
        assert secret[:8] not in clean_text(f"wrong: {secret}")


def test_the_public_name_of_a_provider_is_shown_although_its_key_contains_it() -> None:
    provider = aw.Dewatermark("k7-dewatermark-key-1")
    assert clean_text("no watermark was found by Dewatermark") == "no watermark was found by Dewatermark"
    assert clean_text("wrong: k7-dewatermark-key-1") == "wrong: …"
    del provider


def test_a_short_key_is_hidden_as_a_word_only() -> None:
    provider = aw.Kaze("key7")
    assert clean_text("key7 is not accepted, nor monkey77") == "… is not accepted, nor monkey77"
    del provider


@pytest.mark.parametrize(
    "link",
    [
        "https://h.example/a b.png?Signature=canary",
        "https:\\/\\/h.example\\/a.png?Signature=canary",
        "https%3A%2F%2Fh.example%2Fa.png%3FSignature%3Dcanary",
        "https://h.example/a.png#Signature=canary",
        "https://h.example/a.png&quest;Signature=canary",
        "//h.example/a.png?Signature=canary",
        "https://user:canary@h.example/a.png",
        "https%3A%2F%2Fuser%3Acanary%40h.example/a.png",
    ],
)
def test_the_signature_of_a_link_is_not_shown_in_any_form(link: str) -> None:
    for text in shown_texts(f"cannot fetch {link} at all"):
        assert "canary" not in text
        assert "h.example" in text


def test_a_text_is_one_line_without_control_characters() -> None:
    text = "\x1b[2J\x1b]0;owned\x07\r\nERROR a fake line\u2028\u202e\ud800end"
    assert clean_text(text).isprintable()
    assert redact_url(f"https://h.example/{text}").isprintable()
    assert short_text(text, 60).isprintable()
    assert str(aw.InvalidInput(text)).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("foo", "foo"),
        ("foo:8080", "foo:8080"),
        ("http://", "http://"),
        ("//foo", "//foo"),
        ("a b", "a b"),
        ("", ""),
        ("user:canary@foo", "foo"),
        ("foo?sign=canary", "foo?…"),
        ("foo#canary", "foo"),
    ],
)
def test_a_text_that_is_not_a_url_is_shown_as_it_was_given_without_what_may_be_secret(text: str, shown: str) -> None:
    assert redact_url(text) == shown


def test_a_reason_has_at_most_500_characters() -> None:
    reason = aw.Snapshot(None, aw.Status.FAILED, reason="why " * 1_000_000).reason
    assert reason is not None
    assert len(reason) == 500


@pytest.mark.parametrize(
    "text",
    ["The balance is insufficient", "trace_id 3f1c9a0e-6c1b-4d5f-9c57-0d3b1a9b8f10", "InvalidParameterValueException"],
)
def test_what_helps_to_find_the_cause_is_shown(text: str) -> None:
    assert clean_text(text) == text


HOSTILE_PARTS = st.sampled_from(
    [
        "?",
        "://",
        "://a@",
        "&#",
        "%25",
        "\\u0025",
        "\\",
        '"',
        "{",
        "[",
        "A1a",
        "…",
        "ﷺ",
        "=",
        "\x1b",
        "\ud800",
        " ",
        "&lt;",
    ]
)


@given(st.lists(HOSTILE_PARTS, min_size=1, max_size=4), st.sampled_from(["", "[", '{"a": "', "x"]))
def test_64_kib_of_the_worst_become_one_short_clean_line(parts: list[str], start: str) -> None:
    hostile = start + "".join(parts) * (65_536 // len("".join(parts)))
    body = hostile.encode(errors="surrogatepass")
    for text in (redacted_excerpt(body), clean_text(hostile), short_text(hostile, 60), redact_url(hostile)):
        assert text.isprintable()
        assert len(text) <= 2010
    assert len(redacted_excerpt(body)) <= 300
    assert len(clean_text(hostile)) <= 500


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@host.example:8443/a/b?sign=x#y", ("host.example:8443", "/a/b")),
        (f"https://host.example/{'tasks/' * 30}7", ("host.example", f"/{'tasks/' * 30}7")),
        (f"https://host.example/callback/{CALLBACK_KEY}/done", ("host.example", "/callback/…/done")),
        (f"https://host.example/a/{'x' * 80}", ("host.example", "/a/…")),
        ("https://host.example/a\x1b[2Jb\u202e", ("host.example", "/a\ufffd[2Jb\ufffd")),
        ("https://[::1/a", ("", "an invalid URL")),
        ("/only/a/path", ("", "/only/a/path")),
    ],
)
def test_the_location_of_a_request_is_its_host_and_its_path_without_credentials(
    url: str, shown: tuple[str, str]
) -> None:
    assert redacted_location(url) == shown


def test_a_key_in_use_is_hidden_in_a_location() -> None:
    provider = aw.Kaze(KEY)
    host, path = redacted_location(f"https://{KEY}.example/tasks/{KEY[:10]}/{KEY[10:]}")
    assert KEY[3:14].lower() not in f"{host}{path}".lower()
    assert KEY[12:22].lower() not in path.lower()
    del provider
