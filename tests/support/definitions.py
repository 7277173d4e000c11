"""What a module of the package defines: functions and classes, and what is defined in these classes as Class.name."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import aiowatermark

PACKAGE = Path(aiowatermark.__file__).parent


def defined_names(source: str) -> set[str]:
    """Return the names that the source of a module defines."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for name in map(_name_of, node.body) if name is not None}
    return names


def _name_of(node: ast.stmt) -> str | None:
    target = node.target if isinstance(node, ast.AnnAssign) else node
    name = getattr(target, "name", None) or getattr(target, "id", None)
    return name if isinstance(name, str) else None


def names_by_module() -> Mapping[str, set[str]]:
    """Return the names that each module of the package defines, by its path in the package."""
    paths = PACKAGE.rglob("*.py")
    return {path.relative_to(PACKAGE).as_posix(): defined_names(path.read_text(encoding="utf-8")) for path in paths}
