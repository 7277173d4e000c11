"""The folder of results: whatever a token or a store says, files are written inside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiowatermark.cli.batch.output_folder import OutputFolder


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("photo", "photo-clean.png"),
        ("a.b", "a.b-clean.png"),
        ("../../escaped", "escaped-clean.png"),
        ("/etc/absolute", "absolute-clean.png"),
        ("a\\..\\b", "b-clean.png"),
        ("..", "media-clean.png"),
        ("../", "media-clean.png"),
        ("a\x1b[2Jb\n", "a_[2Jb_-clean.png"),
    ],
)
def test_a_result_is_written_inside_the_folder(tmp_path: Path, stem: str, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    downloaded = folder / "fetched"
    downloaded.write_bytes(b"\x89PNG\r\n\x1a\n")
    target = OutputFolder(folder, uses_manifest=False)._move_into_place(downloaded, stem, ".png", "key")
    assert target == folder / name
    assert list(tmp_path.rglob("*.png")) == [target]
