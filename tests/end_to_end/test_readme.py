"""The README's code is the code that runs, and its commands are those that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_shortest_code_is_the_example_that_the_tests_run() -> None:
    found = re.search(r"<!-- (examples/\S+) -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    assert (ROOT / found[1]).read_text() == found[2]


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 10
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_ci_runs_the_test_command_as_it_stands() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    assert commands[1].endswith("-m pytest")
    assert "'^python3 -m venv .*pytest$' README.md" in (ROOT / ".ci" / "run").read_text()


def test_every_public_name_is_exported_once_and_sorted() -> None:
    import aiowatermark

    assert aiowatermark.__all__ == sorted(set(aiowatermark.__all__))
    assert all(hasattr(aiowatermark, name) for name in aiowatermark.__all__)
