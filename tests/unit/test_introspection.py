"""What `repr()` and `help()` show: short lines without secrets, and signatures and texts as if written by hand."""

from __future__ import annotations

import inspect
import pydoc
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import Factory, define, evolve, field, fields, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

import aiowatermark as aw
from aiowatermark.introspection import MAX_REPR, documented, short_repr
from aiowatermark.jobs import Job, Session
from aiowatermark.media.base import Media
from aiowatermark.media.masks.strokes import StrokeMask
from aiowatermark.media.memory import Base64Text, Bytes, Link
from aiowatermark.redaction import short_text

# repr

SIGNED = "https://user:canary@example.com/a/b.png?X-Signature=canary&expires=1#canary"
HOSTILE = [
    "order-4711",
    "k" * 10_000,
    "a b " * 5000,
    SIGNED,
    f"{SIGNED} " * 100,
    f"{'x' * 480} {SIGNED}",
    f"see ({SIGNED})",
    "\r\n\x00\x1b[31mred\x7f\u2028\u202e\u0085",
    "\ud800\udfff" * 300,
    "\U0001f600" * 300,
    "\\\"'" * 200,
    "://" * 4000,
    "?" * 10_000,
    "",
]
hostile = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=()), max_size=300)
numbers = st.floats(allow_nan=True) | st.none()


class NestedMedia(Media):
    """Media of an application: it refers to other media and has a long repr of its own."""

    def __init__(self, name: str, inner: Media | None) -> None:
        self.name = name
        self.size = None
        self.inner = inner

    def __repr__(self) -> str:
        return f"NestedMedia({self.inner!r}, {self.blocks!r}, canary)\n" * 100

    def blocks(self) -> Any:
        raise NotImplementedError

    @property
    def identity(self) -> str:
        return "canary"


def media_named(name: str) -> list[Media]:
    inner = Link(SIGNED)
    link = Link("https://example.com/" + name.encode("ascii", "ignore").decode() + "?sig=canary")
    return [link, Bytes(b"canary", name), Base64Text("Y2FuYXJ5", name), NestedMedia(name, StrokeMask(inner))]


def assert_short(value: object) -> None:
    text = repr(value)
    assert len(text) <= MAX_REPR
    assert text.isprintable()
    assert text.encode()
    assert not re.search(r"canary|bound method|object at 0x|<lambda>", text), text
    assert text.startswith(f"<{type(value).__name__} ")
    assert text.endswith(">")


def values_with(text: str, number: float | None) -> list[object]:
    media = media_named(text)
    session = Session("canary", media[0])
    outputs = (*map(aw.Output, media), aw.Output(error=aw.JobFailed(text)), aw.Output())
    snapshot = aw.Snapshot(
        text, aw.Status.FAILED, number, outputs * 20, text, number, session, {"secret": "canary", "nested": media}, text
    )
    record = aw.Record(text, text, snapshot, "canary", False, ("canary",), "canary", "canary", "canary")
    options = {"session_id": "canary", "mask_base": media[1], text: text}
    jobs = [Job((one,), one, options, session, True) for one in media]
    result = aw.Result(record, NestedMedia(text, media[0]))  # type: ignore[arg-type]
    return [*outputs, snapshot, record, *jobs, Job(tuple(media * 25)), Job((), None, {}, session), result]


@settings(deadline=None)
@given(hostile, numbers)
def test_a_repr_is_one_short_line_without_secrets(text: str, number: float | None) -> None:
    for value in values_with(text, number):
        assert_short(value)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_repr_of_hostile_text_is_one_short_line_without_secrets(text: str) -> None:
    for value in values_with(text, 1e308):
        assert_short(value)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_repr_of_a_handle_is_one_short_line_without_secrets(text: str) -> None:
    record = aw.Record(text, text, aw.Snapshot(text, aw.Status.RUNNING, reason=text), callback="canary")
    # a handle shows nothing of its job but the record
    assert_short(aw.JobHandle(cast("Any", SimpleNamespace(record=record))))


@pytest.mark.parametrize("secret", ['{"api_key": "canary"}', f'{{"api_key": "canary", "message": "{"?" * 60_000}"}}'])
def test_a_repr_quotes_no_secret_of_an_answer(secret: str) -> None:
    snapshot = aw.Snapshot("t-1", aw.Status.FAILED, reason=secret)
    assert_short(snapshot)
    assert_short(aw.Output(error=aw.JobFailed(secret)))


def test_a_repr_tells_what_matters() -> None:
    link = Link("https://example.com/clean.png?sig=canary", size=2048)
    failed = aw.Output(error=aw.JobFailed("too dark"))
    snapshot = aw.Snapshot("t-1", aw.Status.SUCCEEDED, 1.0, (aw.Output(link), failed), session=Session("s-1"))
    record = aw.Record("order-4711", "kaze", snapshot, version=3)
    job = Job((Link("https://example.com/a.png"), link), Bytes(b"m", "mask.png"), {"smear": None, "sync": True})
    assert [repr(value) for value in (*snapshot.outputs, aw.Output(), snapshot, record, job)] == [
        "<Output Link https://example.com/clean.png?… 2048 bytes>",
        "<Output JobFailed: too dark>",
        "<Output empty>",
        "<Snapshot succeeded task_id=t-1 progress=1 outputs=2 session>",
        "<Record kaze order-4711 succeeded task_id=t-1 version=3>",
        "<Job a.png and 1 more mask=mask.png options=smear,sync>",
    ]
    assert repr(aw.Result(record, NestedMedia("x", None))) == (  # type: ignore[arg-type]
        "<Result kaze order-4711 succeeded outputs=2>"
    )
    assert repr(aw.Snapshot(None, aw.Status.IN_DOUBT)) == "<Snapshot in_doubt>"
    assert repr(aw.Snapshot(None, aw.Status.FAILED, reason="too dark", retry_after=2.5, key="order-4711")) == (
        "<Snapshot failed key=order-4711 retry_after=2.5 reason=too dark>"
    )


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("order-4711", 10, "order-4711"),
        ("order-4711", 9, "order-47…"),
        ("1e5", 9, "1e5"),
        (" a\n b ", 9, "a b"),
        ("https://user:canary@example.com/a?sig=canary", 60, "https://example.com/a?…"),
        ("a\x00b", 9, "a\ufffdb"),
        ("x" * 5000, 5, "xxxx…"),
    ],
)
def test_a_text_is_shortened_to_one_line_without_credentials(text: str, limit: int, short: str) -> None:
    assert short_text(text, limit) == short


def test_the_longest_repr_is_cut() -> None:
    assert short_repr(Bytes(b""), "a", "", "b") == "<Bytes a b>"
    assert short_repr(Bytes(b""), "x" * (MAX_REPR - 8)) == f"<Bytes {'x' * (MAX_REPR - 8)}>"
    assert short_repr(Bytes(b""), "x" * (MAX_REPR - 7)) == f"<Bytes {'x' * (MAX_REPR - 9)}…>"


# help

CLASSES = [item for name in aw.__all__ if isinstance(item := getattr(aw, name), type)]
MACHINERY = ("NOTHING", "generated by attrs", "created by attrs", "<factory>", "Factory(", "Attribute(name")


def help_text(thing: object) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


def constructor(cls: type) -> tuple[type, list[str]]:
    """The class that defines `__init__`, and the parameters; none for enums and protocols, which are not called."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    parameters = list(inspect.signature(owner.__init__).parameters.values())[1:]  # type: ignore[misc]
    named = [
        parameter.name
        for parameter in parameters
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    return owner, [] if owner.__module__ in {"builtins", "enum"} else named


@pytest.mark.parametrize("cls", CLASSES)
def test_the_help_of_a_class_shows_no_machinery(cls: type) -> None:
    text = help_text(cls)
    assert [word for word in MACHINERY if word in text] == []
    assert "object at 0x" not in text


@pytest.mark.parametrize("cls", CLASSES)
def test_the_docstring_of_a_class_documents_every_parameter(cls: type) -> None:
    owner, names = constructor(cls)
    docstring = inspect.getdoc(owner) or ""
    assert [name for name in names if not re.search(rf"\b{name}\b", docstring)] == []
    assert "Args:" in docstring or not names
    assert [name for name in names if name.startswith("_")] == []
    assert inspect.getdoc(cls)


ARGUMENTS: dict[type, tuple[Any, ...]] = {
    **dict.fromkeys((aw.PicWish, aw.GptGe, aw.Kaze, aw.Dewatermark), ("a key",)),
    aw.PhotoEraser: ("a key", "a secret"),
    aw.Limits: (),
    aw.Polling: (),
    aw.Recovery: (),
    aw.Credits: (5.0,),
    aw.Delivery: (b"",),
    aw.Output: (),
    aw.Snapshot: (None, aw.Status.QUEUED),
    aw.Record: ("order-4711", "kaze"),
    aw.MemoryStore: (),
    aw.SQLiteStore: ("jobs.db",),
    aw.RedisStore: ("redis://localhost",),
}
"""The required arguments of classes with default values."""


@pytest.mark.parametrize("cls", ARGUMENTS)
def test_a_signature_shows_the_defaults_that_a_call_uses(cls: type) -> None:
    parameters = inspect.signature(cls).parameters.values()
    shown = {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
    instance = cls(*ARGUMENTS[cls])
    shown.pop("account", None)  # None stands for a digest of the credentials
    assert shown
    assert shown == {name: getattr(instance, name) for name in shown}


@documented
@frozen(slots=False)
class Scaled:
    """A class with every kind of default; `unit` is a variable that `scale` is made of."""

    unit = 10
    name: str
    _secret: int = field(default=1, init=False)
    _hidden: int = 2
    tags: list[str] = field(factory=lambda: ["a"], kw_only=True)
    scale: int = field(default=Factory(lambda self: self.unit * 2, takes_self=True), kw_only=True)


@documented
@define(slots=False)
class Abstract:
    """A class whose subclasses set the variable that a default is made of."""

    scale: int = Factory(lambda self: self.unit, takes_self=True)


def test_a_documented_class_shows_values_in_place_of_factories() -> None:
    assert str(inspect.signature(Scaled)) == (
        "(name: 'str', hidden: 'int' = 2, *, tags: 'list[str]' = ['a'], scale: 'int' = 20) -> None"
    )
    assert repr(fields(Scaled)) == "(name, tags, scale)"
    assert str(inspect.signature(Abstract)) == "(scale: 'int' = unit) -> None"


def test_a_documented_class_works_as_before() -> None:
    first, second = Scaled("x"), Scaled("x")
    assert (first, first.tags, first.scale) == (second, ["a"], 20)
    assert first.tags is not second.tags
    assert evolve(first, name="y", scale=3) == Scaled("y", scale=3)
    assert fields(Scaled).scale.name == "scale"


def test_a_subclass_does_not_inherit_the_signature_of_a_documented_class() -> None:
    @frozen(slots=False)
    class Named(Scaled):
        label: str = field(default="z", kw_only=True)

    class Free(Scaled):
        def __init__(self, anything: int) -> None:
            raise NotImplementedError

    assert "label" in inspect.signature(Named).parameters
    assert str(inspect.signature(Free)) == "(anything: 'int') -> 'None'"


def test_the_help_of_the_package_names_what_to_start_with() -> None:
    docstring = inspect.getdoc(aw) or ""
    for name in ("Client", "PicWish", "Limits", "SQLiteStore", "RedisStore", "CallbackServer", "WatermarkError"):
        assert re.search(rf"\b{name}\b", docstring)
    # every name with a capital that the text mentions is exported
    mentioned = set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+|\b(?:Client|Result|Limits)\b", docstring))
    assert mentioned <= {*aw.__all__}
    text = help_text(aw)
    assert text.index("Start with") < text.index("PACKAGE CONTENTS")
    assert [word for word in MACHINERY if word in text] == []
