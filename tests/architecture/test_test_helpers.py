"""The structure of the tests themselves: a conftest holds only fixtures, and nothing imports from one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MODULES = {
    path.relative_to(TESTS).as_posix(): ast.parse(path.read_text())
    for path in sorted(TESTS.rglob("*.py"))
    if "samples" not in path.parts
}
CONFTESTS = [name for name in MODULES if name.endswith("conftest.py")]


def test_nothing_imports_from_a_conftest() -> None:
    for name, module in MODULES.items():
        for node in ast.walk(module):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            assert not [each for each in names if each.rpartition(".")[2] == "conftest"], name


@pytest.mark.parametrize("name", CONFTESTS)
def test_a_conftest_defines_only_documented_fixtures_and_hooks_of_pytest(name: str) -> None:
    for node in MODULES[name].body:
        assert not isinstance(node, ast.ClassDef), node.name
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = [ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list]
            assert decorators == ["pytest.fixture"] or node.name.startswith("pytest_"), node.name
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("support/")])
def test_a_support_module_is_documented_and_imports_no_test(name: str) -> None:
    module = MODULES[name]
    assert ast.get_docstring(module)
    imported = [node.module or "" for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    assert not [each for each in imported if each.startswith("tests.") and not each.startswith("tests.support")]
