"""The Markdown documents: links lead somewhere, paths and methods that they name exist, decision records are short."""

from __future__ import annotations

import ast
import re
from datetime import date
from pathlib import Path

import pytest

from tests.support import markdown
from tests.support.definitions import PACKAGE, names_by_module
from tests.support.processes import REPOSITORY

DOCUMENTS = {path.relative_to(REPOSITORY).as_posix(): path for path in markdown.find_documents()}
pytestmark = pytest.mark.skipif(
    not (REPOSITORY / "benchmarks").is_dir(), reason="not all documents are part of the source distribution"
)
# what a reader follows into the code
GUIDES = [
    name for name in DOCUMENTS if name in {"CONTRIBUTING.md", "docs/architecture.md"} or name.startswith("docs/adr/")
]
RECORDS = sorted(path for name, path in DOCUMENTS.items() if re.match(r"docs/adr/\d", name))

EXAMPLES = {"acme.py", "picwish-1.json"}
"""Files that a document's reader makes."""
PLACEHOLDER = re.compile(r"(?:NAME|X)\.(?:py|json)$")
FOR_USERS = ("docs/start/", "docs/how-to/")
"""Pages whose bare file names are those of the reader's own program."""
HISTORY = "CHANGELOG.md"
"""It names files as they were."""

NAMES = names_by_module()
QUESTIONS = (
    "Where is a request of provider X made?",
    "Who decides that a job is in doubt?",
    "Where is a callback matched to its job?",
    "Where is a record written?",
    "Where do bytes get counted?",
    "How do I add a provider?",
    "How do I add a field to a provider?",
)


def missing_paths(document: Path, text: str) -> list[str]:
    """Return the paths that a document names and that do not exist; of a placeholder, its folder counts."""
    paths = {PLACEHOLDER.sub("", path) for path in markdown.named_paths(text)} - EXAMPLES - {""}
    if document.relative_to(REPOSITORY).as_posix().startswith(FOR_USERS):
        paths = {path for path in paths if "/" in path}
    return sorted(path for path in paths if not markdown.is_in_repository(path, document))


def unknown_names(text: str) -> list[str]:
    """Return `Class.method` that no module defines, and "`name` in `module.py`" that this module does not define."""
    everywhere = set().union(*NAMES.values())
    wrong = [name for name in re.findall(r"`([A-Z][a-z]\w+\.[a-z_]\w*)`", text) if name not in everywhere]
    for name, path in re.findall(r"`([A-Z]\w+(?:\.\w+)?)`(?: in |\s*\()`([\w/]+\.py)`", text):
        if name not in NAMES.get(path.removeprefix("aiowatermark/"), set()):
            wrong.append(f"{name} in {path}")
    return wrong


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_relative_link_leads_to_a_file_and_a_heading(name: str) -> None:
    assert markdown.broken_links(DOCUMENTS[name], DOCUMENTS[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != HISTORY])
def test_every_path_in_a_code_span_exists(name: str) -> None:
    assert missing_paths(DOCUMENTS[name], DOCUMENTS[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", GUIDES)
def test_every_method_that_a_guide_names_exists(name: str) -> None:
    assert unknown_names(DOCUMENTS[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "[a](missing.md)",
        "![a picture](missing.svg)",
        "[a](architecture.md#no-such-heading)",
        "[a](#no-such-heading)\n\n# Another heading",
        "[a](#aiowatermark.NoSuchName)",
        "[a [b] c](missing%20file.md)",
    ],
)
def test_a_broken_link_is_found(text: str) -> None:
    assert markdown.broken_links(REPOSITORY / "docs/on-call.md", text)


@pytest.mark.parametrize(
    "text",
    [
        "[a](architecture.md#where-to-add-things)",
        "[a](#a-heading-with-code-and-more)\n\n## A heading: with `code`, and more",
        "[a](https://example.com/missing.md) [b](mailto:a@example.com)",
        "```\n[a](missing.md)\n```",
        "`[a](missing.md)`",
        "[a](recovery.md#when-redis-forgets) [b](../README.md) [c](#aiowatermark.Client.submit)",
    ],
)
def test_a_good_link_is_not_reported(text: str) -> None:
    assert markdown.broken_links(REPOSITORY / "docs/on-call.md", text) == []


@pytest.mark.parametrize(
    "path", ["client/engine/nothing.py", "nothing.py", "docs/nothing/", "tests/nothing.md", "nothing/none.py"]
)
def test_a_path_that_does_not_exist_is_found(path: str) -> None:
    assert missing_paths(REPOSITORY / "README.md", f"see `{path}`") == [path]


@pytest.mark.parametrize(
    "code", ["client/client.py", "flows.py", "docs/adr/", "callbacks/", "photo.jpg", "a/b", "x.save()"]
)
def test_a_path_that_exists_and_code_that_is_no_path_are_not_reported(code: str) -> None:
    assert missing_paths(REPOSITORY / "README.md", f"see `{code}`") == []


@pytest.mark.parametrize(
    "text", ["`Record.go_back`", "`FlowRunner.run` in `client/client.py`", "`Client` (`client/handle.py`)"]
)
def test_a_method_that_does_not_exist_is_found(text: str) -> None:
    assert unknown_names(text)


def test_a_bare_name_on_a_page_for_users_is_the_readers_own_file() -> None:
    page = REPOSITORY / "docs/start/first-image.md"
    assert missing_paths(page, "save it as `first.py`; see `docs/nothing.md`") == ["docs/nothing.md"]


# the contributors' page and the decision records


def test_the_questions_of_a_contributor_have_an_answer() -> None:
    text = DOCUMENTS["CONTRIBUTING.md"].read_text(encoding="utf-8")
    answers = dict(re.findall(r"^\| ([^|]+\?) \| ([^|]+) \|$", text, re.MULTILINE))
    assert tuple(answers) == QUESTIONS
    assert "(SECURITY.md)" in text


def test_decision_records_are_numbered_and_listed() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))
    index = DOCUMENTS["docs/adr/index.md"].read_text(encoding="utf-8")
    assert re.findall(r"\]\((\d[^)]*)\)", index) == [path.name for path in RECORDS]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_decision_record_is_short_and_complete(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 50
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Rejected", "Consequences"]
    line = re.search(
        r"^Date: (\d{4}-\d\d-\d\d).*\. Status: (accepted|replaced by \[\d{4}\]\(.+\))\.$", text, re.MULTILINE
    )
    assert line is not None
    assert date.fromisoformat(line[1])


def test_the_emulator_uses_only_neutral_parts_of_the_sdk() -> None:
    # decision 9: what it parses, checks and answers is written from the vendors' documents a second time
    neutral = {"clock", "connection_errors", "lifetimes", "provider", "providers"}
    used = set()
    for path in (PACKAGE / "emulator").rglob("*.py"):
        depth = len(path.relative_to(PACKAGE).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == depth:
                used |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
            if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                used |= {name for name in names if name.startswith("aiowatermark") and ".emulator" not in name}
    assert used == neutral


def test_the_figures_of_the_performance_page_are_those_of_the_benchmarks() -> None:
    text = DOCUMENTS["docs/explanation/performance.md"].read_text(encoding="utf-8")
    measured = re.findall(r"\d+\.\d+", DOCUMENTS["benchmarks/README.md"].read_text(encoding="utf-8"))
    rows = [line for line in text.splitlines() if line.startswith("| ") and "≤" in line]
    figures = {figure for row in rows for figure in re.findall(r"\d+\.\d+", row)}
    assert len(rows) == 7
    assert figures - set(measured) == set()
