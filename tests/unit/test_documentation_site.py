"""The documentation site: the reference has every public name and every command; the pages of providers are current."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.support.processes import REPOSITORY

DOCS = REPOSITORY / "docs"
REFERENCE = DOCS / "reference"
_DIRECTIVE = re.compile(r"^\.\. (?:py:)?(currentmodule|auto(?:class|exception|function|data))::\s*([\w.]+)", re.MULTILINE)
# what dask.py imports from others, and the names of earlier versions
DASK = ("ClientPlugin", "DaskRunner", "OpenClient", "Saved")


def names_in_the_reference() -> Iterator[str]:
    """Yield the full names that the reference documents."""
    for page in sorted(REFERENCE.glob("*.md")):
        module = ""
        for directive, name in _DIRECTIVE.findall(page.read_text()):
            if directive == "currentmodule":
                module = name
            else:
                yield f"{module}.{name}"


def public_names() -> Iterator[str]:
    """Yield the full names of all public names of the package."""
    for module in ("aiowatermark", "aiowatermark.emulator", "aiowatermark.testing", "aiowatermark.sync"):
        yield from (f"{module}.{name}" for name in import_module(module).__all__)
    yield from (f"aiowatermark.dask.{name}" for name in DASK)


def test_every_public_name_is_in_the_reference_once() -> None:
    assert sorted(names_in_the_reference()) == sorted(public_names())


def test_the_public_names_of_dask_are_those_it_defines() -> None:
    dask = pytest.importorskip("aiowatermark.dask")
    classes = [value for value in vars(dask).values() if isinstance(value, type) and value.__module__ == dask.__name__]
    assert {value.__name__ for value in classes} | {"OpenClient"} == set(DASK)


def test_every_page_of_the_reference_is_in_its_table_of_contents() -> None:
    (listed,) = re.findall(r"^```{toctree}\n(.*?)^```$", (REFERENCE / "index.md").read_text(), re.DOTALL | re.MULTILINE)
    elsewhere = {"index", "changes", "security"}  # in the table of contents of the site
    assert set(listed.split()) == {page.stem for page in REFERENCE.glob("*.md")} - elsewhere
