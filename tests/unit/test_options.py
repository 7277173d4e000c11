"""One type has the options of all providers; each provider accepts its own and says what is wrong with another."""

from __future__ import annotations

import inspect
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import pytest

import aiowatermark as aw
from aiowatermark.options import PARAMETERS, Options

PROVIDERS = {name: aw.provider_class(name) for name in aw.provider_names()}
TABLES = {name: {field.name: field for field in attrs.fields(kind.Options)} for name, kind in PROVIDERS.items()}


def account(name: str) -> aw.Provider:
    kind: Any = PROVIDERS[name]
    return kind(**dict.fromkeys(kind.env, "canary-1"))  # type: ignore[no-any-return]


def owners(option: str) -> list[str]:
    return [name for name, table in TABLES.items() if option in table]


def test_the_typed_options_are_exactly_those_of_the_providers() -> None:
    assert {option for table in TABLES.values() for option in table} == Options.__annotations__.keys()


def literals(hint: Any) -> tuple[Any, ...]:
    """The values that a type lists; none if it lists none."""
    kinds = (hint, *get_args(hint)) if get_origin(hint) is not Literal else (hint,)
    return tuple(value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind))


def plain_types(hint: Any) -> set[Any]:
    """The types of a union, with those of its values in place of a Literal, and without None."""
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    plain = {each for each in members if get_origin(each) is not Literal}
    return {type(value) for value in literals(hint)} | plain - {NoneType}


@pytest.mark.parametrize("option", Options.__annotations__)
def test_the_type_of_an_option_is_that_in_the_table_of_its_provider(option: str) -> None:
    hint = get_type_hints(Options)[option]
    for name in owners(option):
        own: Any = attrs.fields_dict(attrs.resolve_types(PROVIDERS[name].Options))[option].type
        if aw.Media in get_args(own):
            assert hint == aw.Source | None
        else:
            assert plain_types(hint) == plain_types(own)
            assert not literals(own) or set(literals(hint)) == set(literals(own))


@pytest.mark.parametrize("option", [name for name, hint in get_type_hints(Options).items() if literals(hint)])
def test_every_value_that_the_type_lists_is_in_the_table_and_no_other(option: str) -> None:
    for name in owners(option):
        for value in literals(get_type_hints(Options)[option]):
            assert getattr(PROVIDERS[name].Options(**{option: value}), option) in {value, None}  # None: the default
        with pytest.raises(aw.InvalidInput, match=option):
            account(name).resolve_options({option: "nonsense"})


def test_every_option_names_its_providers_in_its_docstring() -> None:
    source = inspect.getsource(Options)
    for option in Options.__annotations__:
        docstring = source.partition(f"    {option}: ")[2].partition('"""')[2].partition('"""')[0]
        for name in owners(option):
            assert PROVIDERS[name].display_name in docstring, option


def test_the_parameters_that_are_suggested_are_those_of_the_calls() -> None:
    verbs = (aw.Client.submit, aw.Client.remove, aw.Client.refine, aw.Client.stream)
    names = {name for verb in verbs for name in inspect.signature(verb).parameters}
    assert names - {"self", "items", "result", "named"} == set(PARAMETERS)
    assert not set(PARAMETERS) & Options.__annotations__.keys()


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("gptge", {"snyc": True}, "gpt.ge has no option snyc: it has sync; did you mean sync?"),
        ("gptge", {"maks": b""}, "gpt.ge has no option maks: it has sync; did you mean mask?"),
        ("gptge", {"mask": b""}, "it has sync; mask is no option but an argument of the call, mask=…"),
        ("picwish", {"dead_line": 3}, "did you mean deadline?"),
        ("kaze", {"sync": True}, "Kaze has no option sync, an option of another provider: it has smear"),
        ("gptge", {"strength": 3}, "gpt.ge has no option strength: it has sync"),
        ("gptge", {"sync": "yes"}, "sync: the option must be True or False, not 'yes' (str given)"),
        ("gptge", {"sync": 7}, "sync: the option must be True or False, not 7 (int given)"),
        ("kaze", {"smear": 7}, "smear: media must be a path, bytes, a URL"),
        ("photoeraser", {"priority": "5"}, "priority must be a whole number from 0 to 9, not '5' (str given)"),
        ("dewatermark", {"predict_mode": 3.0}, "predict_mode must be one of 3.0, 2.0, old, not 3.0 (float given)"),
        ("dewatermark", {"remove_text": True, "session_id": 7}, "session_id must be the text from an earlier answer"),
    ],
)
def test_an_option_that_is_wrong_is_refused_with_what_is_right(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(aw.InvalidInput) as refused:
        account(name).resolve_options(options)
    assert text in str(refused.value)


@attrs.frozen
class StrengthOptions:
    strength: int = 1


class OwnPicWish(aw.PicWish):
    """A provider of a user's own, with an option that the package does not know."""

    Options: ClassVar[type[Any]] = StrengthOptions


def test_options_of_a_provider_of_ones_own_are_its_own() -> None:
    assert OwnPicWish("canary-1").resolve_options({"strength": 3}) == {"strength": 3}
    with pytest.raises(aw.InvalidInput, match="no option sync, an option of another provider: it has strength"):
        OwnPicWish("canary-1").resolve_options({"sync": True})
