"""What holds for every provider there is, a sixth one included."""

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
from aiowatermark.wire import Request

CANARY = "canary-7f3a"
each = pytest.mark.parametrize("kind", [provider_class(name) for name in provider_names()], ids=provider_names())


def made(kind: type[Provider], **settings: Any) -> Provider:
    keys: dict[str, Any] = {name: f"{CANARY}-{name}" for name in kind.env}
    return kind(**{**keys, **settings})


def job(provider: Provider) -> Job:
    inputs = (Bytes(b"x"),) if provider.capabilities.files else (Link("https://example.com/a.png?s=" + CANARY),)
    mask = None if provider.capabilities.mask == "none" else Link("https://example.com/m.png?s=" + CANARY)
    return Job(inputs, mask, provider.resolve_options({}))


@each
def test_no_key_stands_in_a_repr_an_account_or_a_request(kind: type[Provider]) -> None:
    provider = made(kind)
    request = next(provider.submit(job(provider), "https://hooks.example.com/" + CANARY))
    look = next(provider.query(Record("key", provider.name, Snapshot("t", Status.QUEUED), video=True)))
    for text in (repr(provider), str(provider), provider.account, repr(request), repr(look), repr(job(provider))):
        assert CANARY not in text


@each
def test_the_key_is_in_the_headers_and_nowhere_else(kind: type[Provider]) -> None:
    provider = made(kind)
    assert any(name.lower() in {"authorization", "x-api-key"} for name in provider.headers)
    assert made(kind).headers == provider.headers
    assert made(kind, **dict.fromkeys(kind.env, "other")).headers != provider.headers


@each
@pytest.mark.parametrize("key", ["", "   ", None, 7, "schlüssel", "two\nlines", b"bytes"])
def test_an_empty_or_impossible_key_is_refused_without_being_shown(kind: type[Provider], key: Any) -> None:
    for bad in kind.env:
        with pytest.raises(InvalidInput, match=bad) as caught:
            made(kind, **{bad: key})
        assert "schlüssel" not in str(caught.value)


@each
@pytest.mark.parametrize(
    "base_url",
    ["http://api.example.com", "http://10.0.0.1", "ftp://x", "api.example.com", "", "https://", "https://x/?k=1"],
)
def test_a_base_url_that_would_send_the_key_in_clear_text_is_refused(kind: type[Provider], base_url: str) -> None:
    with pytest.raises(InvalidInput, match="base_url"):
        made(kind, base_url=base_url)


@each
@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9", "https://example.com/prefix/"]
)
def test_https_and_this_machine_are_fine(kind: type[Provider], base_url: str) -> None:
    assert made(kind, base_url=base_url).base_url == base_url.rstrip("/")


@each
@pytest.mark.parametrize("base_url", ["http://127.0.0.1.evil.example.com", "http://127.evil.example.com"])
def test_a_host_that_only_begins_like_this_machine_is_a_foreign_one(kind: type[Provider], base_url: str) -> None:
    with pytest.raises(InvalidInput, match="clear text"):
        made(kind, base_url=base_url)


@each
@pytest.mark.parametrize("base_url", ["https://user:canary-7f3a@example.com", "https://[canary"])
def test_a_base_url_that_is_none_is_refused_without_its_password(kind: type[Provider], base_url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        made(kind, base_url=base_url)
    assert CANARY not in str(caught.value)


@each
def test_an_unknown_option_is_refused_by_name(kind: type[Provider]) -> None:
    with pytest.raises(InvalidInput, match="no option no_such_option"):
        made(kind).resolve_options({"no_such_option": 1})


@each
def test_keys_come_from_the_environment_and_a_missing_one_is_named(
    kind: type[Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, variable in kind.env.items():
        monkeypatch.setenv(variable, f"  {CANARY}-{name}  ")
    assert kind.from_env() == made(kind)
    for name, variable in kind.env.items():
        monkeypatch.setenv(variable, " ")
        with pytest.raises(InvalidInput, match=variable):
            kind.from_env()
        monkeypatch.setenv(variable, name)


@each
def test_accounts_are_told_apart_by_key_and_host(kind: type[Provider]) -> None:
    provider = made(kind)
    assert provider.account == made(kind).account
    assert provider.account.startswith(provider.name)
    others = [made(kind, base_url="https://example.com"), made(kind, **dict.fromkeys(kind.env, "other"))]
    assert len({provider.account, *(other.account for other in others)}) == 3


@each
def test_the_paid_request_is_the_one_that_is_not_repeatable(kind: type[Provider]) -> None:
    provider = made(kind)
    request = next(provider.submit(job(provider), None))
    assert isinstance(request, Request)
    assert request.method == "POST"
    assert not request.repeatable
    assert not request.signed


@each
def test_a_provider_does_no_io_when_it_is_made_or_asked(kind: type[Provider]) -> None:
    provider = made(kind)
    for call in (lambda: provider.submit(job(provider), None), provider.credits):
        assert inspect.isgenerator(call())


def test_a_provider_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(InvalidInput, match="dewatermark, gptge, kaze, photoeraser, picwish"):
        provider_class("_visual")


def module_of(kind: type[Provider]) -> ModuleType:
    return import_module(kind.__module__)


@each
def test_a_provider_is_found_by_its_own_name(kind: type[Provider]) -> None:
    assert module_of(kind).__name__.rpartition(".")[2] == kind.name


@pytest.mark.parametrize(
    "text",
    ["Insufficient credits to generate this", "integrate a balance first", "quota exceeded", "余额不足", "额度不足"],
)
def test_a_refusal_about_money_is_known_by_its_words(text: str) -> None:
    assert mentions_billing(text)


@pytest.mark.parametrize(
    "text",
    ["Too many requests", "rate_limit_exceeded: quota of requests", "request rate quota", "no", "slow down, credit"],
)
def test_a_refusal_about_haste_is_not_one_about_money(text: str) -> None:
    assert not mentions_billing(text)
