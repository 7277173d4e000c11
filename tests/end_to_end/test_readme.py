"""The README's commands succeed, its links exist, and CI runs its test command."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
import tomllib
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

import aiowatermark
from aiowatermark.emulator import pictures
from tests.support.documents import DOCUMENTS
from tests.support.http_server import free_port
from tests.support.processes import environment, running_python

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CI = ROOT / ".ci" / "run"


SHELL_LINES = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE) for line in block.splitlines()
]
PORT = "8700"


def test_the_readme_has_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_every_extra_that_the_readme_installs_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = [
        extra for line in SHELL_LINES for names in re.findall(r"\[([\w,]+)\]", line) for extra in names.split(",")
    ]
    assert len(installed) >= 4
    assert set(installed) <= extras.keys()


@pytest.mark.slow
async def test_every_command_in_the_readme_succeeds(tmp_path: Path) -> None:
    """Its lines as they stand, in one shell, except those that install: `.ci/run` runs these."""
    for number in range(2):
        (tmp_path / "photos" / f"{number}").mkdir(parents=True)
        (tmp_path / "photos" / f"{number}" / "photo.jpg").write_bytes(pictures.sample_photo(seed=number))
    emulators = [line for line in SHELL_LINES if line.startswith("aiowatermark emulator")]
    demos = [line.split(" && .venv/bin/")[-1] for line in SHELL_LINES if line.endswith(" demo")]
    session = [line for line in SHELL_LINES if line not in emulators and re.match("aiowatermark|export", line)]
    assert (len(emulators), len(demos)) == (1, 1)
    assert len(session) >= 7
    assert len(emulators + demos + session) + 2 == len(SHELL_LINES)  # the others: `pip install`, and the tests
    port = str(free_port())
    arguments = shlex.split(emulators[0].replace(PORT, port), comments=True)[1:]
    async with running_python("-m", "aiowatermark", *arguments) as emulator:
        printed = await emulator.wait_for_output("Press Ctrl-C")
        assert all(line.replace(PORT, port).split("  ")[0] in printed for line in session if line.startswith("export"))
        finished = await run_in_bash([*demos, *(line.replace(PORT, port) for line in session)], tmp_path)
    assert "1 of 2" not in finished
    assert len(list((tmp_path / "clean").rglob("*-clean.jpg"))) == 2
    assert (tmp_path / "out" / "index.html").exists()
    assert (tmp_path / "aiowatermark-demo" / "index.html").exists()


async def run_in_bash(lines: list[str], folder: Path) -> str:
    """Run lines in one shell that ends at the first failure; returns what they print."""
    program = folder / "bin" / "aiowatermark"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m aiowatermark "$@"\n')
    program.chmod(0o755)
    variables = environment()
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", "\n".join(lines)),
        stdout=PIPE,
        stderr=STDOUT,
        cwd=folder,
        env={**variables, "PATH": f"{program.parent}{os.pathsep}{variables['PATH']}"},
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


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
