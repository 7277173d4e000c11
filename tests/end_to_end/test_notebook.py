"""The example notebook runs as it stands in a kernel of Jupyter, and is stored without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import REPOSITORY, run_python

NOTEBOOK = REPOSITORY / "examples" / "notebook.ipynb"
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def read_notebook(path: Path) -> Any:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_the_notebook_is_stored_without_outputs() -> None:
    code = [cell for cell in read_notebook(NOTEBOOK).cells if cell.cell_type == "code"]
    assert len(code) > 3
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.slow
async def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """In a process of its own: warnings of Jupyter are not errors there."""
    pytest.importorskip("nbclient")
    script, executed = tmp_path / "execute.py", tmp_path / "executed.ipynb"
    script.write_text(EXECUTE)
    finished = await run_python("-W", "default", script, NOTEBOOK, executed, folder=tmp_path)
    assert finished.code == 0, finished.text
    cells = read_notebook(executed).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert text.count("done   clean-photo-") == 4
    assert "clean.jpg - credits left: 999" in text
    assert "charged: {'kaze': 1, 'picwish': 5}" in text
    assert [
        output for output in outputs if "image/png" in output.get("data", {}) or "image/jpeg" in output.get("data", {})
    ]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
