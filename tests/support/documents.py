"""The Python blocks of the README and of docs/: runs them, and makes modules of them for type checkers."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.processes import REPOSITORY

DOCUMENTS = (
    REPOSITORY / "README.md",
    *sorted(page for page in REPOSITORY.glob("docs/**/*.md") if "_build" not in page.parts),
)

PRELUDE = '''\
"""{document}"""

from __future__ import annotations

from pathlib import Path

import distributed
from aiohttp import web
from fastapi import FastAPI

import aiowatermark as aw
from aiowatermark.dask import OpenClient
from aiowatermark.emulator import Emulator


async def document(
    # what the text around the blocks introduces
    client: aw.Client,
    provider: aw.Provider,
    emulator: Emulator,
    paths: list[Path],
    # a web framework's
    aiohttp_app: web.Application,
    fastapi_app: FastAPI,
    key: str,
    body: bytes,
    content_type: str,
    # a dask cluster's
    cluster: distributed.Client,
    open_client: OpenClient,
) -> None:
'''
"""Completes blocks that are fragments: they become the body of this function, and its parameters are what they use."""

_PACKAGES = ("providers", "emulator/apis")
"""Folders of the modules that docs/adding-a-provider.md shows: their relative imports start here."""
_RELATIVE_IMPORT = re.compile(r"^from (\.+)(\w+)", re.MULTILINE)


def read_blocks(document: Path) -> list[str]:
    """Return the Python blocks of a document, in order."""
    return re.findall(r"^```python\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


async def run(code: str, names: dict[str, Any]) -> None:
    """Execute a block; `await` and `async for` may stand outside functions."""
    compiled = compile(code, "<block>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(compiled, names)  # noqa: S307 - the repository's own documents
    if inspect.iscoroutine(result):
        await result


async def run_blocks(blocks: Iterable[str], names: dict[str, Any], replaced: Mapping[str, str]) -> None:
    """Run blocks in order in one namespace, with texts that point outside this machine replaced."""
    for block in blocks:
        for text, replacement in replaced.items():
            block = block.replace(text, replacement)  # noqa: PLW2901
        await run(block, names)


def read_modules(document: Path) -> Iterator[str]:
    """Yield modules with all Python blocks of a document, as a type checker can read them.

    The blocks of a document continue one another, as they do when the tests run them. A block that begins with a
    docstring begins a module; the others are fragments unless they follow such a one, and PRELUDE completes them.
    """
    modules: list[list[str]] = []
    for block in read_blocks(document):
        if not modules or block.startswith('"""'):
            modules.append([])
        modules[-1].append(_with_absolute_imports(block))
    for blocks in modules:
        code = "\n\n".join(blocks)
        whole = code.startswith('"""')
        yield code if whole else PRELUDE.format(document=document.name) + textwrap.indent(code, "    ")


def _with_absolute_imports(code: str) -> str:
    """Return the code with the relative imports of a module in the package as absolute ones."""

    def absolute(match: re.Match[str]) -> str:
        for package in _PACKAGES:
            folder = REPOSITORY / "aiowatermark" / package
            for _ in match[1][1:]:
                folder = folder.parent
            if (folder / match[2]).exists() or (folder / f"{match[2]}.py").exists():
                return f"from {'.'.join(folder.relative_to(REPOSITORY).parts)}.{match[2]}"
        raise ValueError(f"{match[0]} imports nothing that exists")

    return _RELATIVE_IMPORT.sub(absolute, code)
