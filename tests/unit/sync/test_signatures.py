"""The synchronous classes have every public member of the asynchronous ones, with the same parameters."""

from __future__ import annotations

import ast
import inspect

import pytest

import aiowatermark as aw
from aiowatermark import sync
from aiowatermark.sync.wrapping import Wrapper, synchronous
from tests.support.sync_stub import STUB, make_stub

COUNTERPARTS = [(aw.Client, sync.Client), (aw.JobHandle, sync.JobHandle), (aw.Result, sync.Result)]
VALUES = [(aw.Recovery, sync.Recovery), (aw.Done, sync.Done)]
ASYNCHRONOUS_NAMES = {"AsyncGenerator", "AsyncIterator", "Awaitable", "Coroutine", "Future"}


def public_names(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.mark.parametrize(("async_class", "cls"), COUNTERPARTS)
def test_every_public_member_has_a_counterpart_with_the_same_parameters(async_class: type, cls: type) -> None:
    assert public_names(async_class) <= public_names(cls)
    for name in public_names(async_class):
        original, counterpart = inspect.getattr_static(async_class, name), inspect.getattr_static(cls, name)
        if inspect.isfunction(original):
            assert inspect.signature(counterpart).parameters == inspect.signature(original).parameters, name
            assert not inspect.iscoroutinefunction(counterpart), name
        else:
            assert isinstance(counterpart, property), name
        assert counterpart.__doc__ or name == "record", name


def test_the_client_is_made_with_the_same_arguments() -> None:
    assert inspect.signature(sync.Client).parameters == inspect.signature(aw.Client).parameters


def test_public_attributes_of_an_instance_can_be_read() -> None:
    client = aw.Client(aw.PicWish("a key"))
    names = {name for name in vars(client) if not name.startswith("_")}
    assert names
    assert names <= public_names(sync.Client)
    assert sync.Client(client.provider, limits=client.limits).limits is client.limits


@pytest.mark.parametrize(("async_class", "cls"), VALUES)
def test_values_are_those_of_the_asynchronous_classes(async_class: type, cls: type) -> None:
    assert issubclass(cls, async_class)
    assert inspect.signature(cls).parameters == inspect.signature(async_class).parameters


def test_a_new_method_of_an_asynchronous_class_is_there_without_further_work() -> None:
    class Asynchronous:
        async def wait(self, seconds: float, *, loudly: bool = False) -> None:
            """Wait."""

        @property
        def name(self) -> str:
            return "a name"

    @synchronous(Asynchronous)
    class Synchronous(Wrapper):
        pass

    assert inspect.signature(vars(Synchronous)["wait"]) == inspect.signature(Asynchronous.wait)
    assert vars(Synchronous)["name"].fget(Synchronous(Asynchronous(), None)) == "a name"  # type: ignore[arg-type]


def test_the_stub_is_up_to_date() -> None:
    """If not, `python -m tests.support.sync_stub` writes it."""
    assert normalized(STUB.read_text()) == normalized(make_stub())


def test_the_stub_names_no_asynchronous_type_that_is_returned() -> None:
    functions = [node for node in ast.walk(ast.parse(STUB.read_text())) if isinstance(node, ast.FunctionDef)]
    assert len(functions) > 25
    assert not [node for node in ast.walk(ast.parse(STUB.read_text())) if isinstance(node, ast.AsyncFunctionDef)]
    for function in functions:
        used = {name.id for name in ast.walk(function.returns or ast.Pass()) if isinstance(name, ast.Name)}
        assert not used & ASYNCHRONOUS_NAMES, function.name


def test_every_class_that_a_method_returns_and_that_has_coroutines_has_a_counterpart() -> None:
    names = {name for cls, _ in COUNTERPARTS for name in returned_names(cls)}
    classes = [getattr(aw, name) for name in names if name in aw.__all__ and inspect.isclass(getattr(aw, name))]
    asynchronous = [cls for cls in classes if any(map(inspect.iscoroutinefunction, vars(cls).values()))]
    assert {cls.__name__ for cls in asynchronous} <= {cls.__name__ for cls, _ in COUNTERPARTS}
    assert {aw.JobHandle, aw.Result} <= set(asynchronous)


def returned_names(cls: type) -> set[str]:
    """Return the names in the annotations of what the public methods return."""
    functions = [member for name, member in vars(cls).items() if inspect.isfunction(member) and name[0] != "_"]
    texts = [str(inspect.signature(function).return_annotation) for function in functions]
    return {name.id for text in texts for name in ast.walk(ast.parse(text)) if isinstance(name, ast.Name)}


def normalized(text: str) -> tuple[set[tuple[str, str]], list[str]]:
    """Return a stub's imports, in no order, and its definitions."""
    imports: set[tuple[str, str]] = set()
    definitions = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom):
            imports |= {("." * node.level + (node.module or ""), alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            imports |= {("", alias.name) for alias in node.names}
        else:
            definitions.append(ast.dump(node))
    return imports, definitions


def test_a_session_of_another_loop_is_refused() -> None:
    with pytest.raises(aw.InvalidInput, match="a session belongs to its event loop"):
        sync.Client(aw.PicWish("a key"), session=object())  # type: ignore[arg-type]
