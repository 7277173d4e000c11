"""Sphinx extension: links to Markdown files outside of docs/, which a forge opens.

Those that the site has as a page become links to it. Of the others the site shows the name. Links to files that are no
Markdown need nothing: MyST copies the file into the site.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import Any

PAGES = {"CHANGELOG.md": "reference/changes.md", "SECURITY.md": "reference/security.md"}
"""Pages that include a file of the repository's root."""
_LINK = re.compile(r"\[([^\]]*)\]\((?:\.\./)+((?:[\w-]+/)*[\w-]+\.md)(#[^)]*)?\)")


def rewrite_links(app: Any, docname: str, content: list[str]) -> None:  # noqa: ARG001
    """Replace the links in the source of a page; a listener of `source-read`."""
    folder = PurePosixPath(docname).parent

    def replacement(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        levels = match[0].split("](")[1].count("../")
        if levels <= len(folder.parts):
            return match[0]  # inside of docs/
        if target in PAGES:
            return f"[{text}]({os.path.relpath(PAGES[target], folder)}{anchor or ''})"
        return f"{text} (`{target}` in the repository)"

    content[0] = _LINK.sub(replacement, content[0])


def setup(app: Any) -> dict[str, bool]:
    """Register the listener."""
    app.connect("source-read", rewrite_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
