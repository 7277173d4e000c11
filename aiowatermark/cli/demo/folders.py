"""Folders of the demo's runs: each run has one of its own, so that nothing is overwritten."""

from __future__ import annotations

import os
from itertools import chain, count
from pathlib import Path

from ... import InvalidInput


def create_run_folder(folder: Path) -> Path:
    """Create the folder, or FOLDER-2, FOLDER-3 and so on if it exists and is not empty; return it.

    Raises InvalidInput if it cannot be created.
    """
    if folder.name in {"", ".."}:  # ".", "..": it needs a name that a number can be put to
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow symbolic links
    try:
        numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
        return next(run for run in chain([folder], numbered) if _create(run))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"the folder {folder} cannot be created: {reason}") from None


def _create(folder: Path) -> bool:
    """Create a folder and return True; whether it is empty if it exists."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return folder.is_dir() and not any(folder.iterdir())
    return True
