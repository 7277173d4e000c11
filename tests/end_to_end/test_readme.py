"""The README shows the tested example, its links exist, and CI runs its test command."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import aiowatermark
from tests.support.documents import DOCUMENTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CI = ROOT / ".ci" / "run"


def test_the_program_in_the_readme_is_the_tested_example() -> None:
    found = re.search(r"<!-- (examples/\S+) -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    assert (ROOT / found[1]).read_text() == found[2]


def test_every_relative_link_of_a_document_leads_to_a_file() -> None:
    checked = 0
    for document in (*DOCUMENTS, ROOT / "CHANGELOG.md", *ROOT.glob("benchmarks/*.md")):
        links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
        missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
        assert missing == [], document
        checked += len(links)
    assert checked > 10


def test_every_repository_path_that_a_document_names_exists() -> None:
    for document in (*DOCUMENTS, *ROOT.glob("benchmarks/*.md")):
        paths = re.findall(r"`((?:aiowatermark|tests|examples|benchmarks|docs)/[\w/.-]+)`", document.read_text())
        missing = [path for path in paths if not (ROOT / path).exists() and "NAME" not in path]
        assert missing == [], document


def test_ci_runs_the_readmes_test_command_first_and_unchanged() -> None:
    script = CI.read_text()
    pattern = re.search(r"^test_command=\$\(grep -E '(.*)' README\.md\)$", script, re.MULTILINE)
    assert pattern is not None
    found = subprocess.run(
        ["grep", "-E", pattern[1], "README.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert found == commands[1:]
    assert len(found) == 1
    assert " -m pytest" in found[0]
    assert script.index("test_command") < script.index(".venv/bin/")


def test_every_public_name_is_exported_once_and_sorted() -> None:
    assert aiowatermark.__all__ == sorted(set(aiowatermark.__all__))
    assert all(hasattr(aiowatermark, name) for name in aiowatermark.__all__)
