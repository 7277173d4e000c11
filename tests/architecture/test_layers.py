"""The house: who may import whom, how large anything may be. Read from the sources, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

import aiowatermark

ROOT = Path(aiowatermark.__file__).parent
# lowest first; what stands in one row are strangers to one another
FLOORS = (
    ("errors", "events", "redaction"),
    ("media",),
    ("jobs", "wire"),
    ("results", "codec"),
    ("environment", "capabilities", "http_errors"),
    ("provider",),
    ("providers", "transport", "stores", "callbacks"),
    ("client",),
    ("emulator", "dask"),
    ("testing", "cli"),
    ("__main__",),
)
HEIGHT: Mapping[str, int] = {unit: height for height, row in enumerate(FLOORS) for unit in row}
MODULES = sorted(ROOT.rglob("*.py"))
PURE = ("providers", "jobs", "wire", "codec", "capabilities", "provider")
IO = {"asyncio", "os", "time", "random", "socket", "threading", "subprocess", "tempfile", "datetime", "secrets", "uuid"}
# extras that are not installed everywhere: imported where they are used
EXTRAS = {"av", "click", "cv2", "dask", "distributed", "numpy", "redis", "rich"}
# heavy parts of the package that need them
LAZY = {"cli", "emulator", "testing", "dask"}

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def targets(path: Path, node: ast.AST) -> list[tuple[str, ...]]:
    """What an import statement names, from the top: modules, and what is taken out of them."""
    if isinstance(node, ast.Import):
        return [tuple(alias.name.split(".")) for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = dotted(path) if path.name == "__init__.py" else dotted(path)[:-1]
    base = package[: len(package) - node.level + 1] if node.level else ()
    base += tuple(node.module.split(".")) if node.module else ()
    return [(*base, alias.name) for alias in node.names]


def for_checkers_only(tree: ast.Module) -> set[ast.AST]:
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    return {inner for guard in guards for statement in guard.body for inner in ast.walk(statement)}


def imports(path: Path, *, typing: bool = False) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """The imports of a module; those for type checkers only where `typing`."""
    tree = tree_of(path)
    skipped = set() if typing else for_checkers_only(tree)
    for node in ast.walk(tree):
        if node not in skipped:
            yield from ((node, target) for target in targets(path, node))


def unit(name: tuple[str, ...]) -> str:
    return name[1] if len(name) > 1 else ""


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


each = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
each_below = pytest.mark.parametrize(
    "path",
    [path for path in MODULES if dotted(path) != ("aiowatermark",)],
    ids=lambda path: str(path.relative_to(ROOT)),
)


def test_every_part_of_the_package_has_its_floor() -> None:
    assert {unit(dotted(path)) for path in MODULES} - {""} <= HEIGHT.keys()


@each_below
def test_a_module_imports_downwards_only(path: Path) -> None:
    mine = unit(dotted(path))
    ours = [target for _, target in imports(path) if target[0] == "aiowatermark" and unit(target) in HEIGHT]
    wrong = [target for target in ours if unit(target) != mine and HEIGHT[unit(target)] >= HEIGHT[mine]]
    assert not wrong


@each_below
def test_nobody_imports_the_package_root_but_those_above_the_house(path: Path) -> None:
    if unit(dotted(path)) in {"cli", "testing", "__main__"}:
        return
    roots = [target for _, target in imports(path) if target[0] == "aiowatermark" and unit(target) not in HEIGHT]
    assert not roots


@pytest.mark.parametrize("path", sorted((ROOT / "providers").glob("*.py")), ids=lambda path: path.stem)
def test_providers_are_strangers_to_one_another(path: Path) -> None:
    siblings = [target[2] for _, target in imports(path) if target[:2] == ("aiowatermark", "providers")]
    assert all(name.startswith("_") for name in siblings)


@each
def test_aiohttp_is_spoken_in_transport_callbacks_and_emulator_only(path: Path) -> None:
    if unit(dotted(path)) in {"transport", "callbacks", "emulator"}:
        return
    typing = unit(dotted(path)) != "client"
    assert not [target for _, target in imports(path, typing=typing) if target[0] in {"aiohttp", "yarl"}]


@each
def test_the_pure_floors_know_no_io_no_clock_and_no_chance(path: Path) -> None:
    if unit(dotted(path)) in PURE:
        assert not {target[0] for _, target in imports(path, typing=True)} & IO - (
            {"os"} if path.stem == "jobs" else set()
        )


def test_results_take_nothing_of_the_system_but_the_type_of_paths() -> None:
    taken = [target for _, target in imports(ROOT / "results.py", typing=True) if target[0] == "os"]
    assert taken == [("os", "PathLike")]


@each
def test_no_import_stands_in_a_function_but_for_extras(path: Path) -> None:
    inside = {node for function in functions(path) for node in ast.walk(function)}
    wrong = [
        target
        for node, target in imports(path)
        if node in inside
        and target[0] not in EXTRAS
        and not (target[0] == "aiowatermark" and unit(dotted(path)) in LAZY)
    ]
    assert not wrong


@each
def test_a_module_is_small(path: Path) -> None:
    limit = 250 if path.parent.name == "providers" else 400
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


@each
def test_a_function_is_short(path: Path) -> None:
    assert [function.name for function in functions(path) if length(function) > 40] == []


def test_functions_are_short_in_the_middle_too() -> None:
    lengths = sorted(length(function) for path in MODULES for function in functions(path))
    assert lengths[len(lengths) // 2] <= 8


@each
def test_public_names_are_sorted(path: Path) -> None:
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
            assert listed == sorted(set(listed))


def test_the_root_names_what_it_imports_and_nothing_else() -> None:
    tree = tree_of(ROOT / "__init__.py")
    taken = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert taken == set(aiowatermark.__all__) == set(aiowatermark._HOME)
    assert all(getattr(aiowatermark, name) for name in aiowatermark.__all__)


@each
def test_a_module_says_in_its_first_line_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(tree_of(path))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", "::"))


# the rules themselves, tried on a house that breaks them


@pytest.mark.parametrize(
    ("name", "statement", "names"),
    [
        ("jobs.py", "from .provider import Flow", [("aiowatermark", "provider", "Flow")]),
        ("jobs.py", "from . import Client", [("aiowatermark", "Client")]),
        ("client/talk.py", "from .. import errors", [("aiowatermark", "errors")]),
        ("client/__init__.py", "from .talk import Turn", [("aiowatermark", "client", "talk", "Turn")]),
        ("media/base.py", "import aiowatermark.jobs as j, os.path", [("aiowatermark", "jobs"), ("os", "path")]),
    ],
)
def test_an_import_is_known_by_where_it_leads(name: str, statement: str, names: list[tuple[str, ...]]) -> None:
    assert targets(ROOT / name, ast.parse(statement).body[0]) == names
