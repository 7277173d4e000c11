"""One type has the options of all providers; each provider accepts its own and says what is wrong with another."""

from __future__ import annotations

import inspect
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import pytest

import aiowatermark as aw
from aiowatermark.options import PARAMETERS, Options
from aiowatermark.testing import ScriptedTransport
from aiowatermark.wire import join_sorted

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
        ("gptge", {"snyc": True}, "gpt.ge has no option snyc: it has {options}; did you mean sync?"),
        ("gptge", {"maks": b""}, "gpt.ge has no option maks: it has {options}; did you mean mask?"),
        ("gptge", {"mask": b""}, "it has {options}; mask is not an option but an argument of the call, mask=…"),
        ("picwish", {"dead_line": 3}, "did you mean deadline?"),
        ("kaze", {"sync": True}, "Kaze has no option sync, an option of another provider: it has {options}"),
        ("gptge", {"strength": 3}, "gpt.ge has no option strength: it has {options}"),
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
    assert text.format(options=join_sorted(TABLES[name])) in str(refused.value)


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


def _at_most_ten(_: object, __: object, value: float) -> None:
    if value > 10:
        raise ValueError  # without a text


@attrs.frozen
class ValidatedOptions:
    """Options with validators and converters as attrs and Python have them."""

    quality: int = attrs.field(default=80, validator=attrs.validators.le(100))
    mode: str = attrs.field(default="fast", validator=attrs.validators.in_(["fast", "fine"]))
    label: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    number: int = attrs.field(default=1, converter=int)
    price: Decimal = attrs.field(default=Decimal(1), converter=Decimal)
    depth: int = attrs.field(default=1, validator=_at_most_ten)

    def __attrs_post_init__(self) -> None:
        if self.mode == "fine" and self.quality < 50:
            raise ValueError("fine needs a quality of at least 50")


WRONG = [
    ({"quality": 800}, "the option quality: 'quality' must be <= 100: 800 (int given)"),
    ({"quality": "800"}, "the option quality: '<=' not supported"),
    ({"mode": "slow"}, "the option mode: 'mode' must be in"),
    ({"label": 7}, "the option label: 'label' must be <class 'str'>"),
    ({"number": "many"}, "the option number: invalid literal for int()"),
    ({"number": None}, "the option number: int() argument must be"),
    ({"price": "cheap"}, "the option price: [<class 'decimal.ConversionSyntax'>] (str given)"),
    ({"depth": 11}, "the option depth: ValueError (int given)"),
    ({"quality": 90, "mode": "slow"}, "the option mode: 'mode' must be in"),
    ({"quality": 10, "mode": "fine"}, "the options mode, quality together: fine needs a quality of at least 50"),
]


def with_options(kind: type[aw.Provider], options: type[Any]) -> aw.Provider:
    """An account at a provider whose jobs have these options."""
    own: Any = type(f"Own{kind.__name__}", (kind,), {"Options": options})
    return own(**dict.fromkeys(kind.env, "canary-1"))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("options", "text"), WRONG)
def test_what_a_validator_or_a_converter_of_an_option_raises_names_provider_and_option(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(aw.InvalidInput) as refused:
        with_options(aw.Kaze, ValidatedOptions).resolve_options(options)
    assert refused.value.message.startswith(f"Kaze does not accept {text}")


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_client_refuses_an_option_that_a_validator_refuses_before_anything_is_sent(name: str) -> None:
    transport = ScriptedTransport()
    async with aw.Client(with_options(PROVIDERS[name], ValidatedOptions), transport=transport) as client:
        with pytest.raises(aw.InvalidInput, match="does not accept the option quality") as refused:
            await client.remove("https://example.com/1.jpg", options={"quality": 800})
    assert refused.value.provider == name
    assert transport.submitted == 0


@attrs.frozen
class RequiredOptions:
    quality: int = attrs.field(validator=attrs.validators.le(100))
    depth: int = 1


def test_an_option_without_a_default_has_to_be_given() -> None:
    own = with_options(aw.Kaze, RequiredOptions)
    for options in ({}, {"depth": 2}):
        with pytest.raises(aw.InvalidInput, match="Kaze needs the option quality: it has no default"):
            own.resolve_options(options)
    with pytest.raises(aw.InvalidInput, match="does not accept the option quality"):
        own.resolve_options({"depth": 2, "quality": 800})
    assert own.resolve_options({"quality": 5}) == {"quality": 5, "depth": 1}
