"""Options that select a provider; its API keys are read from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import attrs
import click
from click.core import ParameterSource

from ... import InvalidInput, Provider, provider_class, provider_names
from ...environment import BASE_URL_VARIABLE
from ...provider import normalize_base_url
from ...providers import built_in_names, package_of
from ..console.runner import EXIT_NOT_STARTED, error_text, print_error
from ..console.suggestions import did_you_mean
from ..console.texts import say

Command = TypeVar("Command", bound=Callable[..., Any])
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_FOR_PROGRAMS = {"session_id": "a session takes the place of the image, and a command needs a file or URL"}
"""Options of providers that no command can use, and why."""
_WITHOUT_ACCOUNT = """
Without an account you can run:
  aiowatermark demo        a demonstration on this machine
  aiowatermark emulator    an emulator of the five APIs; it prints keys to use"""


if TYPE_CHECKING:
    _NameChoice = click.Choice[str]
else:
    _NameChoice = click.Choice  # not generic in older versions of click


class ProviderName(_NameChoice):
    """A provider's name; the error for an unknown one names the nearest, and that for a missing one all."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """Return the names in a sentence; click's own text is a list with tabs. Older versions pass no `ctx`."""
        return f"Choose one of {', '.join(provider_names())}."

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return click's message with the nearest name."""
        return super().get_invalid_choice_message(value, ctx) + did_you_mean(str(value), provider_names())


provider_option = click.option(
    "--provider",
    "name",
    required=True,
    type=ProviderName(provider_names()),
    help="Provider to use. Its API key is read from the environment: `aiowatermark doctor` lists the variables.",
)
optional_provider_option = click.option(
    "--provider",
    "name",
    type=ProviderName(provider_names()),
    help="Provider of the job, to be checked: the store knows it, so it can be left out.",
)
base_url_option = click.option(
    "--base-url",
    metavar="URL",
    envvar=BASE_URL_VARIABLE,
    show_envvar=True,
    help="Send API requests to this address instead, for example to that of `aiowatermark emulator`.",
)


account_option = click.option(
    "--account",
    metavar="NAME",
    help="Name of the account: with the same name, jobs are found again after the API key was changed.",
)


def no_base_url_option(reason: str) -> Callable[[Command], Command]:
    """Return a decorator for a command that takes no --base-url: if it is given, the error says why."""

    def refuse(_: click.Context, __: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"--base-url has no use here: {reason}")

    return click.option("--base-url", hidden=True, expose_value=False, callback=refuse)


def base_url_is_from_environment() -> bool:
    """Whether the current command's --base-url was not given and comes from the environment."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source("base_url") is ParameterSource.ENVIRONMENT


def provider_from_env(name: str, base_url: str | None, account: str | None = None) -> Provider:
    """Return the provider with its keys, and say where requests go if the environment decides it.

    Prints an error and exits if a key is missing or a value is not valid.
    """
    provider = create_provider(name, base_url, account)
    if base_url_is_from_environment():
        say(f"Note: {base_url_note(provider)}.", err=True)
    return provider


def create_provider(name: str, base_url: str | None, account: str | None = None) -> Provider:
    """Return the provider with its keys; print an error and exit if a key is missing or a value is not valid."""
    kind = provider_kind(name)
    if missing := [variable for variable in kind.env.values() if not os.environ.get(variable, "").strip()]:
        _exit_without_keys(kind.display_name, missing)
    settings: dict[str, Any] = {} if account is None else {"account": account}
    try:
        return kind.from_env(**_base_url_setting(kind, base_url), **settings)
    except InvalidInput as error:
        exit_with_error(error_text(error))
    except Exception as error:
        if name in built_in_names():
            raise
        exit_with_error(f"the provider {name} of {package_of(name)} cannot be used: {type(error).__name__}: {error}")


def check_base_url_option(name: str, base_url: str | None) -> None:
    """Print an error and exit if --base-url was given and is not valid."""
    try:
        _base_url_setting(provider_kind(name), base_url)
    except InvalidInput as error:
        exit_with_error(error_text(error))


def _base_url_setting(kind: type[Provider], base_url: str | None) -> Mapping[str, str]:
    # from_env reads the variable itself, and names it in its error
    if base_url is None or base_url_is_from_environment():
        return {}
    return {"base_url": normalize_base_url(base_url, kind, "--base-url")}


def base_url_note(provider: Provider) -> str:
    """Return where requests go, if the environment decides it."""
    return f"requests go to {provider.base_url} ({BASE_URL_VARIABLE})"


def provider_kind(name: str) -> type[Provider]:
    """Return the provider's class; print an error and exit if the package that offers it is broken."""
    try:
        return provider_class(name)
    except InvalidInput as error:
        exit_with_error(error_text(error))


def exit_with_error(text: str) -> NoReturn:
    """Print why nothing can be started, and exit."""
    print_error(text)
    raise SystemExit(EXIT_NOT_STARTED)


def _exit_without_keys(display_name: str, missing: Sequence[str]) -> NoReturn:
    names = " and ".join(missing)
    if len(missing) > 1:
        print_error(f"{names} are not set: they must hold the keys of your {display_name} account.")
    else:
        print_error(f"{names} is not set: it must hold the API key of your {display_name} account.")
    for variable in missing:
        click.echo(f"  export {variable}=...", err=True)
    click.echo(_WITHOUT_ACCOUNT, err=True)
    raise SystemExit(EXIT_NOT_STARTED)


def parse_options(provider: Provider, texts: Sequence[str]) -> Mapping[str, Any]:
    """Parse `NAME=VALUE` texts into the types that the provider declares; exit if one is not valid."""
    types = {field.name: str(field.type) for field in attrs.fields(provider.Options)}
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            exit_with_error(f"--option must be NAME=VALUE, not '{text}'")
        if name in _FOR_PROGRAMS and name in types:
            exit_with_error(f"the option {name} is for programs only: {_FOR_PROGRAMS[name]}")
        options[name] = _parse_value(name, value, types.get(name, "str"))
    try:
        provider.resolve_options(options)
    except InvalidInput as error:
        exit_with_error(error_text(error))
    return options


def _parse_value(name: str, value: str, kind: str) -> Any:
    # `kind` is the text of an annotation, such as "bool | None"
    if "bool" in kind:
        if value.lower() not in _BOOLEANS:
            exit_with_error(f"--option {name} must be true or false, not '{value}'")
        return _BOOLEANS[value.lower()]
    if "int" in kind:
        # what is not a number stays text: the provider's check names the range in its error
        return int(value) if value.removeprefix("-").isdecimal() else value
    return value
