"""Architecture rules: layers, sizes and names, checked in the sources of the package without importing its modules.

Each rule is a function that returns what breaks it. It is applied to every module, and to an example that breaks it.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import pytest
from attrs import frozen

import aiowatermark

PACKAGE = "aiowatermark"
ROOT = Path(aiowatermark.__file__).parent

# Lowest first. Imports go downwards only; units of one layer do not import one another. A unit is a module in the root
# of the package or a whole subpackage.
LAYERS = (
    ("clock", "connection_errors", "errors", "events", "introspection", "ledger", "redaction", "suggestions"),
    ("charges", "media", "tokens", "lifetimes", "misuse"),
    ("jobs", "wire"),
    ("codec", "capabilities", "http_errors", "results", "environment", "observation", "options"),
    ("provider",),
    ("providers", "transport", "stores", "callbacks"),
    ("client",),
    ("emulator",),
    ("testing", "sync", "dask", "cli"),
    ("__main__",),
)
LAYER_OF: Mapping[str, int] = {unit: number for number, layer in enumerate(LAYERS) for unit in layer}
ROOT_IMPORTERS = {"cli", "testing", "__main__"}
AIOHTTP_USERS = {"transport", "callbacks", "emulator"}
PURE = {"providers", "jobs", "wire", "codec", "capabilities", "provider"}
IMPURE_MODULES = {
    *("asyncio", "os", "time", "random", "socket", "threading", "subprocess"),
    *("tempfile", "datetime", "secrets", "uuid"),
}
# Extras are not installed everywhere, so they are imported inside functions. These units need them.
EXTRAS = {"av", "click", "cv2", "dask", "distributed", "numpy", "redis", "rich"}
UNITS_WITH_EXTRAS = {"cli", "emulator", "testing", "dask"}

MAX_MODULE_LINES, MAX_PROVIDER_LINES, MAX_FUNCTION_LINES, MAX_MEDIAN_FUNCTION_LINES = 400, 250, 40, 8
MAX_MODULES_IN_A_FOLDER = 14
MAX_MODULES_WITH_ONE_PREFIX = 2
# participles that once were function names; a function is named by a verb
PARTICIPLES = {
    *("assembled", "begun", "connected", "fetched", "given", "kept", "left"),
    *("measured", "opened", "recovered", "spooled", "taken", "told", "written"),
}

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Name: TypeAlias = tuple[str, ...]
"""A dotted name in parts: of a module, or of something in it."""


@frozen(slots=False)
class Module:
    """A module of the package: its path below the package's root, and its source."""

    path: PurePosixPath
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def package(self) -> Name:
        """The package that relative imports start from."""
        return (PACKAGE, *self.path.parent.parts)

    @property
    def unit(self) -> str:
        """The part of the package it belongs to; empty for the root's `__init__`."""
        if self.path.parent.parts:
            return self.path.parent.parts[0]
        return "" if self.path.stem == "__init__" else self.path.stem

    @property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    def imports(self, *, type_checking: bool = False) -> Iterator[tuple[ast.AST, Name]]:
        """Yield import statements with the names they import; those under TYPE_CHECKING only if `type_checking`."""
        skipped = set() if type_checking else type_checking_nodes(self.tree)
        for node in ast.walk(self.tree):
            if node not in skipped:
                yield from ((node, name) for name in imported_names(self.package, node))

    def own_imports(self) -> list[Name]:
        """Return the imported names that are in this package."""
        return [name for _, name in self.imports() if name[0] == PACKAGE]


def type_checking_nodes(tree: ast.Module) -> set[ast.AST]:
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    return {inner for guard in guards for statement in guard.body for inner in ast.walk(statement)}


def imported_names(package: Name, node: ast.AST) -> list[Name]:
    """Return the absolute names that an import statement in `package` imports."""
    if isinstance(node, ast.Import):
        return [tuple(alias.name.split(".")) for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[: len(package) - node.level + 1] if node.level else ()
    base += tuple(node.module.split(".")) if node.module else ()
    return [(*base, alias.name) for alias in node.names]


def unit_of(name: Name) -> str:
    return name[1] if len(name) > 1 else ""


def example(path: str, source: str) -> Module:
    return Module(PurePosixPath(path), source)


MODULES = [
    example(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))
]


# rules about one module


def upward_imports(module: Module) -> list[Name]:
    names = [name for name in module.own_imports() if unit_of(name) in LAYER_OF and unit_of(name) != module.unit]
    return [name for name in names if module.unit and LAYER_OF[unit_of(name)] >= LAYER_OF[module.unit]]


def root_imports(module: Module) -> list[Name]:
    """Return what is imported from the package root, which loads everything lazily; only the uppermost may use it."""
    if module.unit in {"", *ROOT_IMPORTERS}:
        return []
    return [name for name in module.own_imports() if unit_of(name) not in LAYER_OF]


def imports_of_other_providers(module: Module) -> list[Name]:
    if module.unit != "providers":
        return []
    siblings = [name for _, name in module.imports() if name[:2] == (PACKAGE, "providers")]
    return [name for name in siblings if not name[2].startswith("_")]


def imports_of_commands(module: Module) -> list[Name]:
    """Return what is imported from the commands of the command line, the uppermost of its layers, by another one."""
    if module.path.parts[:2] == ("cli", "commands"):
        return []
    return [name for name in module.own_imports() if name[1:3] == ("cli", "commands")]


def aiohttp_imports(module: Module) -> list[Name]:
    if module.unit in AIOHTTP_USERS:
        return []
    # the client accepts a session of aiohttp, so it may name the type
    names = module.imports(type_checking=module.unit != "client")
    return [name for _, name in names if name[0] in {"aiohttp", "yarl"}]


def impure_imports(module: Module) -> list[Name]:
    if module.unit not in PURE:
        return []
    return [name for _, name in module.imports(type_checking=True) if name[0] in IMPURE_MODULES]


def local_imports(module: Module) -> list[Name]:
    """Return what is imported inside functions, except extras and, in units that need extras, the package itself."""
    inside = {node for function in module.functions for node in ast.walk(function)}
    names = [name for node, name in module.imports() if node in inside and name[0] not in EXTRAS]
    return [name for name in names if not (name[0] == PACKAGE and module.unit in UNITS_WITH_EXTRAS)]


def excess_lines(module: Module) -> int:
    limit = MAX_PROVIDER_LINES if module.unit == "providers" else MAX_MODULE_LINES
    return max(0, len(module.source.splitlines()) - limit)


def line_count(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def long_functions(module: Module) -> list[str]:
    return [function.name for function in module.functions if line_count(function) > MAX_FUNCTION_LINES]


def participle_functions(module: Module) -> list[str]:
    functions = [node for node in module.tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function.name for function in functions if function.name in PARTICIPLES]


def unsorted_public_names(module: Module) -> list[str]:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return [] if names == sorted(set(names)) else names
    return []


def missing_docstring(module: Module) -> bool:
    """Whether the first line of the module's docstring is missing or not a complete sentence."""
    docstring = ast.get_docstring(module.tree)
    return not docstring or not docstring.splitlines()[0].endswith((".", "::"))


Rule: TypeAlias = Callable[[Module], Any]
"""Returns something false if the module obeys the rule."""

BROKEN_EXAMPLES: list[tuple[Rule, str, str]] = [
    (upward_imports, "jobs.py", "from .provider import Flow"),
    (upward_imports, "jobs.py", "from .wire import Request"),
    (upward_imports, "media/base.py", "def f(): from ..client.client import Client"),
    (root_imports, "jobs.py", "from . import Client"),
    (root_imports, "client/client.py", "import aiowatermark"),
    (imports_of_other_providers, "providers/kaze.py", "from .picwish import PicWish"),
    (imports_of_commands, "cli/advice/lookup.py", "from ..commands.jobs import jobs"),
    (aiohttp_imports, "stores/memory.py", "import aiohttp"),
    (aiohttp_imports, "client/client.py", "from yarl import URL"),
    (impure_imports, "providers/kaze.py", "import time"),
    (impure_imports, "jobs.py", "from os import environ"),
    (local_imports, "client/client.py", "def f(): import json"),
    (excess_lines, "client/client.py", "\n" * (MAX_MODULE_LINES + 1)),
    (excess_lines, "providers/kaze.py", "\n" * (MAX_PROVIDER_LINES + 1)),
    (long_functions, "client/client.py", "def f():\n" + "    pass\n" * MAX_FUNCTION_LINES),
    (participle_functions, "client/client.py", "async def recovered(): ..."),
    (unsorted_public_names, "__init__.py", "__all__ = ['b', 'a']"),
    (unsorted_public_names, "__init__.py", "__all__ = ['a', 'a']"),
    (missing_docstring, "client/client.py", "import json"),
    (missing_docstring, "client/client.py", '"""No sentence"""'),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in BROKEN_EXAMPLES))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_obeys_the_rule(rule: Rule) -> None:
    assert {str(module.path): found for module in MODULES if (found := rule(module))} == {}


@pytest.mark.parametrize(
    ("rule", "path", "source"), BROKEN_EXAMPLES, ids=lambda value: getattr(value, "__name__", None)
)
def test_the_rule_finds_what_breaks_it(rule: Rule, path: str, source: str) -> None:
    assert rule(example(path, source))


@pytest.mark.parametrize(
    ("path", "statement", "names"),
    [
        ("jobs.py", "from .provider import Flow", [(PACKAGE, "provider", "Flow")]),
        ("jobs.py", "from . import Client", [(PACKAGE, "Client")]),
        ("client/stream.py", "from .. import errors", [(PACKAGE, "errors")]),
        ("client/__init__.py", "from .handle import JobHandle", [(PACKAGE, "client", "handle", "JobHandle")]),
        ("media/base.py", "import aiowatermark.jobs as j, os.path", [(PACKAGE, "jobs"), ("os", "path")]),
    ],
)
def test_an_import_is_resolved_to_absolute_names(path: str, statement: str, names: list[Name]) -> None:
    assert imported_names(example(path, "").package, ast.parse(statement).body[0]) == names


# rules about the whole package


def units_without_layer(modules: Iterable[Module]) -> set[str]:
    return {module.unit for module in modules} - {""} - LAYER_OF.keys()


def modules_by_folder(modules: Iterable[Module]) -> Mapping[PurePosixPath, list[str]]:
    folders: dict[PurePosixPath, list[str]] = defaultdict(list)
    for module in modules:
        if module.path.stem != "__init__":
            folders[module.path.parent].append(module.path.stem)
    return folders


def crowded_folders(modules: Iterable[Module]) -> list[PurePosixPath]:
    """Return the folders with too many modules, the package root excepted."""
    folders = modules_by_folder(modules).items()
    return [folder for folder, stems in folders if folder.parts and len(stems) > MAX_MODULES_IN_A_FOLDER]


def repeated_prefixes(modules: Iterable[Module]) -> list[tuple[PurePosixPath, str]]:
    """Return folder and prefix of modules such as redis_a, redis_b, redis_c, which should be a folder of their own."""
    repeated = []
    for folder, stems in modules_by_folder(modules).items():
        parts = [stem.lstrip("_").partition("_") for stem in stems]
        prefixes = Counter(prefix for prefix, underscore, _ in parts if underscore)
        repeated += [(folder, prefix) for prefix, n in prefixes.items() if n > MAX_MODULES_WITH_ONE_PREFIX]
    return repeated


def duplicate_classes(modules: Iterable[Module]) -> dict[str, list[PurePosixPath]]:
    """Return the public classes defined in several modules, with these modules."""
    paths: dict[str, list[PurePosixPath]] = defaultdict(list)
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                paths[node.name].append(module.path)
    return {name: found for name, found in paths.items() if len(found) > 1 and not are_counterparts(found)}


def are_counterparts(paths: list[PurePosixPath]) -> bool:
    """Whether the modules are a provider and its emulated API, or one and its synchronous counterpart."""
    has_synchronous = len(paths) == 2 and PurePosixPath("sync/client.py") in paths
    return has_synchronous or is_provider_and_emulated_api(paths)


def is_provider_and_emulated_api(paths: list[PurePosixPath]) -> bool:
    """Whether the modules are a provider and the emulated API of the same vendor, which share the vendor's name."""
    folders = sorted(str(path.parent) for path in paths)
    return folders == ["emulator/apis", "providers"] and len({path.stem for path in paths}) == 1


PackageRule: TypeAlias = Callable[[Iterable[Module]], Any]

BROKEN_PACKAGES: list[tuple[PackageRule, list[tuple[str, str]]]] = [
    (units_without_layer, [("utils.py", "")]),
    (crowded_folders, [(f"stores/{chr(ord('a') + number)}.py", "") for number in range(15)]),
    (repeated_prefixes, [("stores/redis_keys.py", ""), ("stores/_redis_script.py", ""), ("stores/redis_lease.py", "")]),
    (duplicate_classes, [("client/limits.py", "class Limits: ..."), ("emulator/limits.py", "class Limits: ...")]),
    (duplicate_classes, [("providers/kaze.py", "class Kaze: ..."), ("emulator/apis/picwish.py", "class Kaze: ...")]),
    (duplicate_classes, [("providers/kaze.py", "class Kaze: ..."), ("providers/picwish.py", "class Kaze: ...")]),
]
PACKAGE_RULES = list(dict.fromkeys(rule for rule, _ in BROKEN_PACKAGES))


@pytest.mark.parametrize("rule", PACKAGE_RULES, ids=lambda rule: rule.__name__)
def test_the_package_obeys_the_rule(rule: PackageRule) -> None:
    assert not rule(MODULES)


@pytest.mark.parametrize(("rule", "sources"), BROKEN_PACKAGES)
def test_the_package_rule_finds_what_breaks_it(rule: PackageRule, sources: list[tuple[str, str]]) -> None:
    assert rule([example(path, source) for path, source in sources])


@pytest.mark.parametrize(
    ("rule", "paths"),
    [
        (crowded_folders, [f"stores/{chr(ord('a') + number)}.py" for number in range(14)] + ["stores/__init__.py"]),
        (crowded_folders, [f"{chr(ord('a') + number)}.py" for number in range(15)]),
        (repeated_prefixes, ["providers/kaze.py", "providers/_kaze_images.py", "providers/_kaze_videos.py"]),
        (duplicate_classes, ["providers/kaze.py", "emulator/apis/kaze.py"]),
        (duplicate_classes, ["client/client.py", "sync/client.py"]),
    ],
)
def test_the_package_rule_permits_its_exceptions(rule: PackageRule, paths: list[str]) -> None:
    assert not rule([example(path, "class Kaze: ...") for path in paths])


def test_the_median_function_is_short() -> None:
    counts = sorted(line_count(function) for module in MODULES for function in module.functions)
    assert counts[len(counts) // 2] <= MAX_MEDIAN_FUNCTION_LINES


# single modules


def test_results_import_only_the_type_of_paths_from_os() -> None:
    (results,) = (module for module in MODULES if str(module.path) == "results.py")
    assert [name for _, name in results.imports(type_checking=True) if name[0] == "os"] == [("os", "PathLike")]


def test_the_root_exports_exactly_the_names_it_imports() -> None:
    (root,) = (module for module in MODULES if str(module.path) == "__init__.py")
    imported = {
        alias.asname or alias.name
        for node in ast.walk(root.tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert imported == set(aiowatermark.__all__) == set(aiowatermark._MODULE_BY_NAME)
    assert all(getattr(aiowatermark, name) for name in aiowatermark.__all__)
