"""Sphinx extension: Markdown files outside of docs/, as pages of the site and as targets of links.

Pages include files of the root, such as CONTRIBUTING.md, with `{include}`. Links to a file that the site has as a page
become links to that page, links to other Markdown files lead to the forge. Links to files that are no Markdown need
nothing: MyST copies the file into the site.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = {
    "CHANGELOG.md": "reference/changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reference/security.md",
}
"""Pages that include a file of the repository's root."""
FORGE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"] + "/blob/main/"
_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)*(?:[\w-]+/)*[\w-]+\.md)(#[^)]*)?\)")


def _with_links(text: str, docname: str, folder: PurePosixPath) -> str:
    """Return a text with the links that lead out of docs/ replaced: it stands in `folder`, and is shown in a page."""

    def replacement(match: re.Match[str]) -> str:
        label, link, anchor = match.groups()
        target = os.path.normpath(folder / link)
        inside = target.removeprefix("docs/") if target.startswith("docs/") else PAGES.get(target)
        if inside is None:
            return f"[{label}]({FORGE}{target}{anchor or ''})"
        return f"[{label}]({os.path.relpath(inside, PurePosixPath(docname).parent)}{anchor or ''})"

    return _LINK.sub(replacement, text)


def rewrite_page(app: Any, docname: str, content: list[str]) -> None:  # noqa: ARG001
    """Replace the links in the source of a page; a listener of `source-read`."""
    content[0] = _with_links(content[0], docname, PurePosixPath("docs", docname).parent)


def rewrite_included(app: Any, path: Path, docname: str, content: list[str]) -> None:
    """Replace the links in a file that a page includes; a listener of `include-read`."""
    included = Path(os.path.normpath(Path(app.srcdir) / path)).relative_to(ROOT).as_posix()
    # of the page that includes it, MyST gives the name without its folder
    page = PAGES.get(included, docname)
    content[0] = _with_links(content[0], page, PurePosixPath(included).parent)


def setup(app: Any) -> dict[str, bool]:
    """Register the listeners."""
    app.connect("source-read", rewrite_page)
    app.connect("include-read", rewrite_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
