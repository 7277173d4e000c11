"""Markdown documents of the repository: their links, the anchors they define, and the paths they name in code spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import aiowatermark
from tests.support.processes import REPOSITORY

_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[^\n]*$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_SOURCE = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|pyi|md|toml|json|lua|svg|sh|ipynb)")
_PATH = re.compile(r"\.?[\w-]+(?:/[\w.-]+)+/?|[a-z_]+/")
_FOLDERS = ("", "aiowatermark", "docs", "tests")


def find_documents(root: Path = REPOSITORY) -> list[Path]:
    """Return all Markdown files, but for those of hidden folders, environments and build results."""
    skipped = {"node_modules", "build", "dist", "_build"}
    found = (path.relative_to(root) for path in root.rglob("*.md"))
    return sorted(
        root / path
        for path in found
        if not any(part in skipped or (part.startswith(".") and part != ".github") for part in path.parts)
    )


def without_code_blocks(text: str) -> str:
    """Return a document's text without its code blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Return the targets of links and images that are no URLs, decoded."""
    targets = (unquote(target) for target in _LINK.findall(_CODE.sub("", without_code_blocks(text))))
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and MyST make them."""
    found: set[str] = set()
    for heading in _HEADING.findall(without_code_blocks(text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def broken_links(document: Path, text: str) -> list[str]:
    """Return the relative links of a document whose file or anchor does not exist."""
    return [target for target in links(text) if not _exists(document, text, target)]


def _exists(document: Path, text: str, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = document.parent / name if name else document
    if not path.exists():
        return False
    if not anchor or path.suffix != ".md":
        return True
    if anchor.startswith("aiowatermark."):  # made by autodoc
        return anchor.removeprefix("aiowatermark.").partition(".")[0] in aiowatermark.__all__
    return anchor in anchors(path.read_text(encoding="utf-8") if name else text)


def named_paths(text: str, root: Path = REPOSITORY) -> Iterator[str]:
    """Yield what stands in code spans and looks like a path of the repository.

    That is a source file, or any path whose first folder is one of the repository.
    """
    folders = {path.name for folder in _FOLDERS for path in (root / folder).iterdir() if path.is_dir()}
    for code in _CODE.findall(without_code_blocks(text)):
        if _SOURCE.fullmatch(code) or (_PATH.fullmatch(code) and code.partition("/")[0] in folders):
            yield code


def is_in_repository(path: str, document: Path, root: Path = REPOSITORY) -> bool:
    """Whether a path exists, seen from the root, the package, docs, tests or the document; a bare name: anywhere."""
    places = [root / folder for folder in _FOLDERS] + [document.parent]
    if any((place / path).exists() for place in places):
        return True
    if "/" in path.rstrip("/"):
        return False
    folders = (root / name for name in ("aiowatermark", "docs", "tests", "benchmarks", "examples"))
    return any(next(folder.rglob(path.rstrip("/")), None) is not None for folder in folders)
