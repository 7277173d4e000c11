"""Sphinx extension: puts `docs/llms.txt`, a short guide for language models, at the root of the built site."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile
from typing import Any


def copy_llms_txt(app: Any, exception: Exception | None) -> None:
    """Copy the file, if the site was built."""
    if exception is None and app.builder.format == "html":
        copyfile(Path(app.srcdir) / "llms.txt", Path(app.outdir) / "llms.txt")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("build-finished", copy_llms_txt)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
