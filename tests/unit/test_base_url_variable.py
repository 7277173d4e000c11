"""AIOWATERMARK_BASE_URL: the address that `from_env()` uses for every provider."""

from __future__ import annotations

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


@pytest.mark.parametrize("value", ["127.0.0.1:8700", "http://example.com", "ftp://127.0.0.1", "https://user@host"])
def test_an_address_that_is_not_valid_is_refused_with_the_name_of_the_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(aw.InvalidInput, match=f"^{VARIABLE}: base_url"):
        aw.Kaze.from_env()


def test_a_provider_that_is_not_made_from_the_environment_ignores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:8700")
    assert aw.Kaze("canary-key").base_url == aw.Kaze.default_base_url
