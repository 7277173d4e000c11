"""Sphinx extension: puts `docs/llms.txt`, a short guide for language models, at the root of the built site.

The links in it name the Markdown files of the repository; in the site they name the pages made of these.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def copy_llms_txt(app: Any, exception: Exception | None) -> None:
    """Write the file, if the site was built."""
    if exception is None and app.builder.format == "html":
        text = (Path(app.srcdir) / "llms.txt").read_text()
        (Path(app.outdir) / "llms.txt").write_text(re.sub(r"\]\(([\w/-]+)\.md\)", r"](\1.html)", text))


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("build-finished", copy_llms_txt)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
