"""Accounts of jobs, as commands name them: the options that lead to one from this shell, with the keys that it has."""

from __future__ import annotations

import re

from ... import InvalidInput, Provider, provider_class
from ...environment import BASE_URL_VARIABLE, optional_variable
from ...jobs import Record
from ...observation.commands import AccountOptions, address_of
from ..console.problems import provider_title
from ..console.texts import printable

_UNNAMED = re.compile(".*-[0-9a-f]{24}", re.DOTALL)


def is_named(account: str) -> bool:
    """Whether the account of a record was given a name; without one it is named after a digest of its credentials."""
    return bool(account) and _UNNAMED.fullmatch(account) is None


def account_of_record(record: Record, base_url: str | None = None) -> AccountOptions:
    """Return the options that lead to the account of a job; `base_url` is where it was sent to, if that is known."""
    sent_to = base_url or address_of(record) or _vendor_address(record.provider)
    # an account without a name is found by its API key alone, if that is the one in the environment
    own = _account_in_environment(record.provider, sent_to)
    is_found = own == record.account or (own is None and not is_named(record.account))
    return AccountOptions(
        record.provider, "" if is_found else record.account, _address_option(record.provider, sent_to)
    )


def account_of_run(provider: Provider) -> AccountOptions:
    """Return the options that lead to the account that a command was given."""
    name = "" if provider.account == provider.default_account else provider.account
    return AccountOptions(provider.name, name, _address_option(provider.name, provider.base_url))


def describe_account(record: Record, provider: Provider, base_url: str | None = None) -> str:
    """Return how a user may know the account of a job that is not this one's, as `another account (--account shop)`.

    It names what differs first: the provider, the address, the name of the account, or the API key.
    """
    if record.provider != provider.name:
        return f"another provider ({printable(provider_title(record.provider, otherwise=record.provider))})"
    sent_to = base_url or address_of(record) or provider.default_base_url
    if sent_to != provider.base_url:
        return f"another address ({printable(sent_to)})"
    if is_named(record.account):
        return f"another account (--account {printable(record.account)})"
    is_same_key = record.account == provider.default_account
    return f"another account ({'without --account' if is_same_key else 'another API key'})"


def identity_of(record: Record) -> tuple[str, str, str | None]:
    """Return what tells the account of a job from others: provider, account and address."""
    return record.provider, record.account, address_of(record)


def _vendor_address(name: str) -> str | None:
    try:
        return provider_class(name).default_base_url
    except InvalidInput:
        return None


def _address_option(name: str, sent_to: str | None) -> str | None:
    """Return the address for --base-url; None if a command of this shell uses it without that option."""
    usual = (optional_variable(BASE_URL_VARIABLE) or "").rstrip("/") or _vendor_address(name)
    return None if sent_to == usual else sent_to


def _account_in_environment(name: str, base_url: str | None) -> str | None:
    """Return the account of the API key in the environment; None without one."""
    try:
        return provider_class(name).from_env(**({} if base_url is None else {"base_url": base_url})).account
    except Exception:  # noqa: BLE001 - a provider of another package may raise anything
        return None
