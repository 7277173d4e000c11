"""Lists files that a test has written."""

from __future__ import annotations

from pathlib import Path


def list_names(folder: Path, *, hidden: bool = True) -> list[str]:
    """Return the names of the files in a folder, sorted; with `hidden=False` without those that begin with a dot."""
    return sorted(path.name for path in folder.iterdir() if hidden or not path.name.startswith("."))
