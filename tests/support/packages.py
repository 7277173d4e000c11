"""Writes installed packages: a module, and the metadata by which its entry points are found."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

GROUP = "aiowatermark.providers"


def install_package(
    folder: Path, name: str, entry_points: Mapping[str, str], source: str = "", *, module: str = "acme"
) -> None:
    """Write version 1.0 of a package into a folder of sys.path: a module with this source, and its metadata."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{entry} = {value}" for entry, value in entry_points.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))


def install_documented_package(folder: Path, program: str, pyproject: str) -> None:
    """Write the package of a document: its program, and what its pyproject.toml declares."""
    project = tomllib.loads(pyproject)["project"]
    install_package(folder, project["name"], project["entry-points"][GROUP], program)


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process find the packages in a folder."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
