"""The manifest of an output folder that others can write to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aiowatermark import InvalidInput
from aiowatermark.cli.batch.manifest import NAME, Manifest
from aiowatermark.cli.batch.output_folder import OutputFolder


def link_to_another_file(path: Path) -> None:
    path.symlink_to(path.parent.parent / "victim")


@pytest.mark.parametrize("make", [link_to_another_file, os.mkfifo, Path.mkdir])
def test_a_manifest_that_is_no_regular_file_is_refused_and_nothing_is_written(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "out"
    victim.write_text("alias ll=ls\n")
    folder.mkdir()
    make(folder / NAME)
    manifest = Manifest(folder)
    with pytest.raises(OSError, match=r"symbolic|regular|directory|seekable"):
        manifest.read()
    with pytest.raises(OSError, match=r"symbolic|regular|directory|seekable"):
        manifest.add("key", folder / "a.png", 3)
    with pytest.raises(InvalidInput, match="cannot write to the folder"):
        OutputFolder(folder, uses_manifest=True).prepare()
    assert victim.read_text() == "alias ll=ls\n"


def test_a_manifest_is_read_again_with_its_mode(tmp_path: Path) -> None:
    Manifest(tmp_path).add("key", tmp_path / "a.png", 3)
    (tmp_path / "a.png").write_bytes(b"abc")
    again = Manifest(tmp_path)
    again.read()
    assert again.saved_file("key") == tmp_path / "a.png"
