"""Makes the stub of the synchronous classes from the source of the asynchronous ones.

    python -m tests.support.sync_stub          writes aiowatermark/sync/client.pyi

`async def` becomes `def`, what is awaited or iterated over asynchronously is returned or iterated over, and names that
the stub does not define are imported from where the async class has them. Parameters are copied as they are. Docstrings
that the synchronous classes have, and their further methods, take precedence.
"""

from __future__ import annotations

import ast
import builtins
import copy
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import aiowatermark

PACKAGE = Path(aiowatermark.__file__).parent
IMPLEMENTATION = PACKAGE / "sync" / "client.py"
STUB = IMPLEMENTATION.with_suffix(".pyi")
HEAD = "Signatures of the synchronous classes; made by `python -m tests.support.sync_stub`, not to be edited."
SOURCES = (
    ("results.py", "Result"),
    ("client/handle.py", "JobHandle"),
    ("client/recovery.py", "Recovery"),
    ("client/stream.py", "Done"),
    ("client/stream.py", "Outcome"),
    ("client/client.py", "Client"),
)
"""Module and name of each async class, or alias of types."""
ATTRIBUTES = {"Client": "limits: Limits"}
"""Instance attributes that are assigned in `__init__`."""
RENAMED_METHODS = {"__aenter__": "__enter__", "__aexit__": "__exit__"}
SYNCHRONOUS = {"AsyncIterator": "Generator", "AsyncGenerator": "Generator", "Awaitable": None}
"""Generic types of returned values, with what they become; None: what is awaited."""


class ReturnType(ast.NodeTransformer):
    """Replaces asynchronous types in the annotation of a returned value."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        name = ast.unparse(node.value)
        if name not in SYNCHRONOUS:
            self.generic_visit(node)
            return node
        item = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
        if (generic := SYNCHRONOUS[name]) is None:
            return self.visit(item)  # type: ignore[no-any-return]
        return ast.parse(f"{generic}[{ast.unparse(item)}]", mode="eval").body


def make_stub() -> str:
    """Return the text of the stub, not formatted."""
    trees = {path: ast.parse((PACKAGE / path).read_text()) for path, _ in SOURCES}
    definitions = [_definition(trees[path], name) for path, name in SOURCES]
    _use_own(ast.parse(IMPLEMENTATION.read_text()), definitions)
    own = {name for _, name in SOURCES}
    imports: dict[str, str] = {}
    for path, tree in trees.items():
        imports |= {name: line for name, line in _imports(path, tree).items() if name not in own}
    imports |= {"Generator": "from collections.abc import Generator", "Self": "from typing import Self"}
    needed = _names(definitions) - own - vars(builtins).keys()
    lines = sorted({imports[name] for name in needed if name in imports})
    head = [f'"""{HEAD}"""', "from __future__ import annotations", *lines]
    return "\n\n".join([*head, *map(ast.unparse, definitions)]) + "\n"


def _imports(path: str, tree: ast.Module) -> dict[str, str]:
    """Return how the stub imports each name of a module: from where the module has it, or from the module itself."""
    package = ["", *path.split("/")[:-1]]
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = "." * (2 if node.level else 0) + ".".join([*base[1:], *([node.module] if node.module else [])])
            for alias in node.names:
                name = alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"
                found[alias.asname or alias.name] = f"from {module} import {name}"
        elif isinstance(node, ast.Import):
            found |= {(alias.asname or alias.name): f"import {alias.name}" for alias in node.names}
    module = ".." + path.removesuffix(".py").replace("/", ".")
    for node in tree.body:
        for target in _assigned(node):
            found[target] = f"from {module} import {target}"
    return found


def _assigned(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that the stub uses, those in annotations that are texts included."""
    return {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}


def _definition(tree: ast.Module, name: str) -> ast.stmt:
    (node,) = (node for node in tree.body if name in _assigned(node))
    return _class_stub(copy.deepcopy(node)) if isinstance(node, ast.ClassDef) else node


def _class_stub(node: ast.ClassDef) -> ast.ClassDef:
    """Return a class with its public members only, without the code of its methods."""
    attributes = ast.parse(ATTRIBUTES.get(node.name, "")).body
    methods = [_method_stub(each) for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    fields = [_field_stub(each) for each in node.body if isinstance(each, ast.AnnAssign)]
    node.body = [*_docstring(node), *attributes, *filter(None, fields), *_without_implementations(methods)]
    node.bases = [base for base in node.bases if ast.unparse(base).startswith("Generic[")]
    is_value = bool(fields) and node.name != "Result"
    node.decorator_list = [each for each in node.decorator_list if is_value and ast.unparse(each) != "documented"]
    return node


def _field_stub(node: ast.AnnAssign) -> ast.stmt | None:
    if not isinstance(node.target, ast.Name) or node.target.id.startswith("_"):
        return None
    if isinstance(node.value, ast.Call):
        node.value = ast.Constant(...)
    return node


def _method_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.FunctionDef | None:
    name = RENAMED_METHODS.get(node.name, node.name)
    if name.startswith("_") and name not in {"__init__", *RENAMED_METHODS.values()}:
        return None
    if [argument.arg for argument in node.args.args] == ["self", "job"]:  # the client makes handles
        return None
    returns = None if node.returns is None else ReturnType().visit(node.returns)
    stub = ast.parse("def f(): ...").body[0]
    assert isinstance(stub, ast.FunctionDef)
    stub.name, stub.args, stub.returns, stub.decorator_list = name, node.args, returns, node.decorator_list
    stub.body = _docstring(node) or stub.body
    return stub


def _use_own(implementation: ast.Module, definitions: list[ast.stmt]) -> None:
    """Take the docstrings and the further methods of the synchronous classes into the stub."""
    own = {node.name: node for node in implementation.body if isinstance(node, ast.ClassDef)}
    for stub in definitions:
        if not isinstance(stub, ast.ClassDef):
            continue
        _replace_docstring(stub, own[stub.name])
        methods = {each.name: each for each in stub.body if isinstance(each, ast.FunctionDef)}
        for method in own[stub.name].body:
            if not isinstance(method, ast.FunctionDef):
                continue
            if method.name in methods:
                _replace_docstring(methods[method.name], method)
            elif (further := _method_stub(method)) is not None:
                stub.body.append(further)


def _replace_docstring(stub: ast.ClassDef | ast.FunctionDef, own: ast.ClassDef | ast.FunctionDef) -> None:
    if own_docstring := _docstring(own):
        rest = stub.body[1:] if ast.get_docstring(stub) or isinstance(stub, ast.FunctionDef) else stub.body
        stub.body = [*own_docstring, *rest]


def _without_implementations(methods: Iterable[ast.FunctionDef | None]) -> list[ast.FunctionDef]:
    """Leave out what implements overloads; the last overload gets its docstring."""
    kept: list[ast.FunctionDef] = []
    for method in filter(None, methods):
        is_implementation = bool(kept) and kept[-1].name == method.name and _is_overload(kept[-1])
        if is_implementation and not _is_overload(method):
            kept[-1].body = method.body
        else:
            kept.append(method)
    return kept


def _is_overload(method: ast.FunctionDef) -> bool:
    return "overload" in map(ast.unparse, method.decorator_list)


def _docstring(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return [] if ast.get_docstring(node) is None else [node.body[0]]


if __name__ == "__main__":
    STUB.write_text(make_stub())
    for command in (["check", "-q", "--fix", "--select", "I"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, STUB], check=True)
