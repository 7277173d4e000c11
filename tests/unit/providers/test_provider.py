"""Promises that hold for every provider, including providers added later."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from aiowatermark.errors import InvalidInput
from aiowatermark.http_errors import mentions_billing
from aiowatermark.jobs import Job, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes, Link
from aiowatermark.provider import Provider
from aiowatermark.providers import provider_class, provider_names
from tests.support.flows import first_request

CANARY = "canary-7f3a"
each = pytest.mark.parametrize("cls", [provider_class(name) for name in provider_names()], ids=provider_names())


def create(cls: type[Provider], **settings: Any) -> Provider:
    keys: dict[str, Any] = {name: f"{CANARY}-{name}" for name in cls.env}
    return cls(**{**keys, **settings})


def job(provider: Provider) -> Job:
    inputs = (Bytes(b"x"),) if provider.capabilities.files else (Link("https://example.com/a.png?s=" + CANARY),)
    mask = None if provider.capabilities.mask == "none" else Link("https://example.com/m.png?s=" + CANARY)
    return Job(inputs, mask, provider.resolve_options({}))


@each
def test_no_key_appears_in_a_repr_an_account_or_a_request(cls: type[Provider]) -> None:
    provider = create(cls)
    request = next(provider.submit(job(provider), "https://hooks.example.com/" + CANARY))
    query = next(provider.query(Record("key", provider.name, Snapshot("t", Status.QUEUED), video=True)))
    for text in (repr(provider), str(provider), provider.account, repr(request), repr(query), repr(job(provider))):
        assert CANARY not in text


@each
def test_the_key_determines_the_headers(cls: type[Provider]) -> None:
    provider = create(cls)
    assert any(name.lower() in {"authorization", "x-api-key"} for name in provider.headers)
    assert create(cls).headers == provider.headers
    assert create(cls, **dict.fromkeys(cls.env, "other")).headers != provider.headers


@each
@pytest.mark.parametrize("key", ["", "   ", None, 7, "schlüssel", "two\nlines", b"bytes"])
def test_an_invalid_key_is_refused_and_not_shown(cls: type[Provider], key: Any) -> None:
    for name in cls.env:
        with pytest.raises(InvalidInput, match=name) as caught:
            create(cls, **{name: key})
        assert "schlüssel" not in str(caught.value)


@each
@pytest.mark.parametrize(
    "base_url",
    ["http://api.example.com", "http://10.0.0.1", "ftp://x", "api.example.com", "", "https://", "https://x/?k=1"],
)
def test_an_invalid_base_url_is_refused(cls: type[Provider], base_url: str) -> None:
    with pytest.raises(InvalidInput, match="base_url"):
        create(cls, base_url=base_url)


@each
@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9", "https://example.com/prefix/"]
)
def test_https_and_loopback_are_accepted(cls: type[Provider], base_url: str) -> None:
    assert create(cls, base_url=base_url).base_url == base_url.rstrip("/")


@each
@pytest.mark.parametrize("base_url", ["http://127.0.0.1.evil.example.com", "http://127.evil.example.com"])
def test_a_host_name_that_starts_like_a_loopback_address_is_not_loopback(cls: type[Provider], base_url: str) -> None:
    with pytest.raises(InvalidInput, match="clear text"):
        create(cls, base_url=base_url)


@each
@pytest.mark.parametrize("base_url", ["https://user:canary-7f3a@example.com", "https://[canary"])
def test_an_error_about_an_invalid_base_url_does_not_show_its_password(cls: type[Provider], base_url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        create(cls, base_url=base_url)
    assert CANARY not in str(caught.value)


@each
def test_an_unknown_option_is_refused_and_named(cls: type[Provider]) -> None:
    with pytest.raises(InvalidInput, match="no option no_such_option"):
        create(cls).resolve_options({"no_such_option": 1})


@each
def test_keys_come_from_the_environment_and_a_missing_one_is_named(
    cls: type[Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, variable in cls.env.items():
        monkeypatch.setenv(variable, f"  {CANARY}-{name}  ")
    assert cls.from_env() == create(cls)
    for name, variable in cls.env.items():
        monkeypatch.setenv(variable, " ")
        with pytest.raises(InvalidInput, match=variable):
            cls.from_env()
        monkeypatch.setenv(variable, name)


@each
def test_accounts_differ_by_key_and_base_url(cls: type[Provider]) -> None:
    provider = create(cls)
    assert provider.account == create(cls).account
    assert provider.account.startswith(provider.name)
    others = [
        create(cls, base_url="https://example.com"),
        create(cls, **dict.fromkeys(cls.env, "other")),
    ]
    assert len({provider.account, *(other.account for other in others)}) == 3


@each
def test_the_paid_request_is_not_repeatable(cls: type[Provider]) -> None:
    provider = create(cls)
    request = first_request(provider.submit(job(provider), None))
    assert request.method == "POST"
    assert not request.repeatable
    assert not request.signed


@each
def test_creating_a_flow_performs_no_io(cls: type[Provider]) -> None:
    provider = create(cls)
    for call in (lambda: provider.submit(job(provider), None), provider.credits):
        assert inspect.isgenerator(call())


def test_the_error_for_an_unknown_provider_lists_the_valid_names() -> None:
    with pytest.raises(InvalidInput, match="dewatermark, gptge, kaze, photoeraser, picwish"):
        provider_class("_visual")


def module_of(cls: type[Provider]) -> ModuleType:
    return import_module(cls.__module__)


@each
def test_a_provider_is_found_by_its_name(cls: type[Provider]) -> None:
    assert module_of(cls).__name__.rpartition(".")[2] == cls.name


@pytest.mark.parametrize(
    "text",
    ["Insufficient credits to generate this", "integrate a balance first", "quota exceeded", "余额不足", "额度不足"],
)
def test_a_refusal_for_missing_credits_is_detected_by_its_text(text: str) -> None:
    assert mentions_billing(text)


@pytest.mark.parametrize(
    "text",
    ["Too many requests", "rate_limit_exceeded: quota of requests", "request rate quota", "no", "slow down, credit"],
)
def test_a_refusal_for_the_request_rate_is_not_taken_for_missing_credits(text: str) -> None:
    assert not mentions_billing(text)
