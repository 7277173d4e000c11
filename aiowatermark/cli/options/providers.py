"""From the name of a provider to the provider, with its keys from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import attrs
import click

from ... import InvalidInput, Provider, provider_class, provider_names
from ..console.runner import NOTHING_STARTED, error_text, print_error

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

provider_option = click.option(
    "--provider",
    "name",
    required=True,
    type=click.Choice(provider_names()),
    help="Whose account to use; its keys come from the environment.",
)
base_url_option = click.option(
    "--base-url", metavar="URL", help="Another address of the same API, such as that of `aiowatermark emulator`."
)


def provider_from_env(name: str, base_url: str | None) -> Provider:
    """The provider with its keys; exits with a sentence where a key is missing or something is odd."""
    kind = provider_class(name)
    if missing := [variable for variable in kind.env.values() if not os.environ.get(variable, "").strip()]:
        _missing_account(kind.display_name, missing)
    settings: dict[str, Any] = {} if base_url is None else {"base_url": base_url}
    try:
        return kind.from_env(**settings)
    except InvalidInput as error:
        refuse(error_text(error))


def refuse(text: str) -> NoReturn:
    """Say why nothing can start, and exit."""
    print_error(text)
    raise SystemExit(NOTHING_STARTED)


def _missing_account(title: str, missing: Sequence[str]) -> NoReturn:
    names = " and ".join(missing)
    verb, what = ("are", "keys") if len(missing) > 1 else ("is", "key")
    print_error(f"{names} {verb} not set: put your {title} {what} into the environment.")
    click.echo(_NO_ACCOUNT, err=True)
    raise SystemExit(NOTHING_STARTED)


_NO_ACCOUNT = """
Without an account:
  aiowatermark demo        shows it at work on this machine
  aiowatermark emulator    serves the five APIs here, with keys to use"""


def parse_options(provider: Provider, given: Sequence[str]) -> Mapping[str, Any]:
    """The options of `NAME=VALUE` texts, each of the type the provider gives it; exits where one cannot be."""
    types = {field.name: str(field.type) for field in attrs.fields(provider.Options)}
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            refuse(f"--option {text}: write NAME=VALUE")
        options[name] = _typed(name, value, types.get(name, "str"))
    try:
        provider.resolve_options(options)
    except InvalidInput as error:
        refuse(error_text(error))
    return options


def _typed(name: str, value: str, kind: str) -> Any:
    if "bool" in kind:
        if value.lower() not in _WORDS:
            refuse(f"--option {name}={value}: {name} is true or false")
        return _WORDS[value.lower()]
    if "int" in kind:
        return int(value) if value.removeprefix("-").isdecimal() else value
    return value
