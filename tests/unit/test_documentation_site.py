"""The documentation site: the reference has every public name and every command; the pages of providers are current."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest
from attrs import fields

import aiowatermark as aw
from aiowatermark.providers import built_in_names
from tests.support.processes import REPOSITORY

DOCS = REPOSITORY / "docs"
REFERENCE = DOCS / "reference"
_DIRECTIVE = re.compile(
    r"^\.\. (?:py:)?(currentmodule|auto(?:class|exception|function|data))::\s*([\w.]+)", re.MULTILINE
)
BY_MODULE = {
    "aiowatermark.emulator.pictures": ("sample_photo", "sample_mark", "sample_mask", "stamp"),
    "aiowatermark.media.inspection": ("OutputInfo",),
}
"""Names that pages and examples use and that no `__all__` of a public module has."""
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
    yield from (f"{module}.{name}" for module, names in BY_MODULE.items() for name in names)


def test_every_public_name_is_in_the_reference_once() -> None:
    assert sorted(names_in_the_reference()) == sorted(public_names())


def test_the_public_names_of_dask_are_those_it_defines() -> None:
    dask = pytest.importorskip("aiowatermark.dask")
    classes = [value for value in vars(dask).values() if isinstance(value, type) and value.__module__ == dask.__name__]
    assert {value.__name__ for value in classes} | {"OpenClient"} == set(DASK)


def test_the_table_of_errors_says_of_each_what_can_be_done_next() -> None:
    table = (REFERENCE / "errors.md").read_text().partition("## What to do next")[2].partition("##")[0]
    classes = [value for name in aw.__all__ if isinstance(value := getattr(aw, name), type)]
    errors = {value.__name__ for value in classes if issubclass(value, aw.WatermarkError)} - {"WatermarkError"}
    assert sorted(re.findall(r"^\| `(\w+)` \| \S", table, re.MULTILINE)) == sorted(errors)


def test_every_page_of_the_reference_is_in_its_table_of_contents() -> None:
    (listed,) = re.findall(r"^```{toctree}\n(.*?)^```$", (REFERENCE / "index.md").read_text(), re.DOTALL | re.MULTILINE)
    elsewhere = {"index", "changes", "security"}  # in the table of contents of the site
    assert set(listed.split()) == {page.stem for page in REFERENCE.glob("*.md")} - elsewhere


def load_generator() -> ModuleType:
    """Return docs/_generate.py, which is no part of the package."""
    spec = spec_from_file_location("docs_generate", DOCS / "_generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_of_providers_are_those_that_the_code_gives() -> None:
    for page, text in load_generator().pages():
        assert page.read_text() == text, f"{page.name} is out of date: run `python docs/_generate.py`"


def test_each_built_in_provider_has_a_page() -> None:
    assert {page.stem for page in (DOCS / "providers").glob("*.md")} == set(built_in_names())
    assert {provider.name for provider in load_generator().providers()} == set(built_in_names())


def test_each_documented_option_is_accepted_as_the_example_shows_it() -> None:
    generator = load_generator()
    for provider in generator.providers():
        account = generator.account(provider)
        for option in fields(provider.Options):
            options = eval(f"dict({generator.example(option.name)})")  # noqa: S307 - a text of this repository
            assert account.resolve_options(options)[option.name] != option.default, option.name


def test_the_options_in_the_readme_are_those_of_the_providers() -> None:
    rows = [line.split("|")[1:-1] for line in (REPOSITORY / "README.md").read_text().splitlines() if line[:1] == "|"]
    header = next(row for row in rows if " `aw.PicWish` " in row)
    listed = next(row for row in rows if row[0].strip() == "options")
    for name, cell in zip(header[1:], listed[1:], strict=True):
        kind = getattr(aw, name.strip(" `").removeprefix("aw."))
        assert sorted(re.findall(r"`(\w+)`", cell)) == sorted(option.name for option in fields(kind.Options)), name


def test_the_files_of_the_root_that_the_site_links_are_pages_that_include_them() -> None:
    source = (DOCS / "_ext" / "root_documents.py").read_text()
    pages = dict(re.findall(r'^    "(\w+\.md)": "([\w/]+\.md)",$', source, re.MULTILINE))
    assert pages.keys() == {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    for name, page in pages.items():
        (included,) = re.findall(r"^```\{include\} (\S+)$", (DOCS / page).read_text(), re.MULTILINE)
        assert (DOCS / page).parent.joinpath(included).resolve() == REPOSITORY / name


def test_the_terms_are_at_most_twenty_and_linked_from_where_they_are_used() -> None:
    terms = re.findall(r"^\| ([\w ]+) \| \S.*\. \|$", (DOCS / "terms.md").read_text(), re.MULTILINE)
    assert 10 < len(terms) == len(set(terms)) <= 20
    for page in ("index", "recovery", "troubleshooting", "on-call", "webhooks", "advanced", "explanation/guarantees"):
        assert "terms.md)" in (DOCS / f"{page}.md").read_text(), page


def test_every_argument_of_a_provider_is_on_its_page() -> None:
    generator = load_generator()
    for provider in generator.providers():
        documented = generator.documented_arguments(provider)
        assert documented.keys() == inspect.signature(provider).parameters.keys(), provider.name
        assert all(documented.values())


def test_the_guide_for_language_models_names_public_names_and_pages_that_exist() -> None:
    text = (DOCS / "llms.txt").read_text()
    pages = re.findall(r"\]\(([^)]*)\)", text)
    assert len(pages) > 10
    assert [page for page in pages if not (DOCS / page).exists()] == []
    assert {name for name in re.findall(r"\baw\.(\w+)", text) if name not in aw.__all__} == set()
    assert {name for name in re.findall(r"\bclient\.(\w+)\(", text) if not hasattr(aw.Client, name)} == set()
