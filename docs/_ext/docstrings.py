"""Sphinx extension: docstrings as reStructuredText, with links from the public names in them to the reference.

`Args:` sections become lists of parameters. Single backticks are code; where the code is a public name, it is a link.
Names of errors are links also where they stand in the text without backticks, as in "Raises InvalidInput".
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.ext.napoleon import Config, GoogleDocstring

import aiowatermark as aw

_CONFIG = Config(napoleon_use_rtype=False, napoleon_google_docstring=True)
_ERRORS = {name for name in aw.__all__ if isinstance(kind := getattr(aw, name), type) and issubclass(kind, Exception)}
_CODE_NAME = re.compile(rf"(?<!`)`({'|'.join(aw.__all__)})`(?![`\w])")
_ERROR_NAME = re.compile(rf"(?<![\w.`~])({'|'.join(_ERRORS)})\b(?!`)")


def convert(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Replace the lines of a docstring; a listener of `autodoc-process-docstring`."""
    if what not in {"attribute", "data", "property"}:
        # Google's style takes the text before a colon in the docstring of an attribute for its type
        lines[:] = GoogleDocstring(lines, _CONFIG, None, what, name, obj, options).lines()
    lines[:] = [_with_links(line) for line in lines]


def _with_links(line: str) -> str:
    line = _CODE_NAME.sub(r":py:obj:`~aiowatermark.\1`", line)
    return line if line.startswith("    ") else _ERROR_NAME.sub(r":py:obj:`~aiowatermark.\1`", line)


def setup(app: Any) -> dict[str, bool]:
    """Register the listener."""
    app.connect("autodoc-process-docstring", convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
