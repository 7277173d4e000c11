"""AIOWATERMARK_BASE_URL: the address that `from_env()` uses for every provider."""

from __future__ import annotations

import re

import pytest

import aiowatermark as aw

VARIABLE = "AIOWATERMARK_BASE_URL"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of all providers are set, the address is not."""
    monkeypatch.delenv(VARIABLE, raising=False)
    for name in aw.provider_names():
        for variable in aw.provider_class(name).env.values():
            monkeypatch.setenv(variable, "canary-key")


@pytest.mark.parametrize("name", aw.provider_names())
def test_every_provider_is_sent_to_the_address_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " http://127.0.0.1:8700/ ")
    assert aw.provider_class(name).from_env().base_url == "http://127.0.0.1:8700"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_an_address_in_the_environment_the_default_is_used(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert aw.Kaze.from_env().base_url == aw.Kaze.default_base_url


def test_an_argument_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "not an address")
    assert aw.Kaze.from_env(base_url="http://127.0.0.1:1").base_url == "http://127.0.0.1:1"


NOT_VALID = ["foo", "foo:8080", "127.0.0.1:8700", "//host", "ftp://127.0.0.1", "http://", "two words", "https://a b"]


@pytest.mark.parametrize("value", NOT_VALID)
def test_an_address_that_is_not_valid_is_shown_as_it_was_given_with_its_variable_and_a_valid_one(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = "must be an absolute URL such as https://backend.kaze.ai or http://127.0.0.1:8700, not"
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(aw.InvalidInput, match=rf"^{VARIABLE} {re.escape(f'{expected} {value!r}')}$"):
        aw.Kaze.from_env()
    with pytest.raises(aw.InvalidInput, match=rf"^base_url {re.escape(f'{expected} {value!r}')}$"):
        aw.Kaze("canary-key", base_url=value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("http://example.com", "http://example.com would send the API key in clear text"),
        ("https://user:canary@host", "without user, password and query, not 'https://host'"),
        ("user:canary@host", "not 'host'"),
        ("https://host:port", "host or port of the given one are not valid"),
        ("https://[::1", "host or port of the given one are not valid"),
        ("https://backend.kaze.ai/api/model", "must be https://backend.kaze.ai: the SDK adds the paths of the API"),
    ],
)
def test_every_refusal_of_an_address_names_the_variable(
    value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(aw.InvalidInput, match=f"^{VARIABLE} .*{re.escape(problem)}") as caught:
        aw.Kaze.from_env()
    assert "canary" not in str(caught.value)


def test_a_provider_that_is_not_made_from_the_environment_ignores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:8700")
    assert aw.Kaze("canary-key").base_url == aw.Kaze.default_base_url
