"""Sphinx extension: docstrings and signatures for readers of the reference.

`Args:` sections become lists of parameters. Single backticks are code; where the code is a public name, it is a link.
The name of a file of docs/ becomes a link to its page. Names of errors are links also where they stand in the text
without backticks, as in "Raises InvalidInput". Signatures show long unions by their names, and leave out defaults that
have no short form.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from sphinx.errors import PycodeError
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

import aiowatermark as aw
from aiowatermark import sync

_CONFIG = Config(napoleon_use_rtype=False, napoleon_google_docstring=True)
_ERRORS = {name for name in aw.__all__ if isinstance(kind := getattr(aw, name), type) and issubclass(kind, Exception)}
_CODE_NAME = re.compile(rf"(?<!`)`({'|'.join(aw.__all__)})`(?![`\w])")
_ERROR_NAME = re.compile(rf"(?<![\w.`~])({'|'.join(_ERRORS)})\b(?!`)")
# a type alias that autodoc was told to keep, which it writes as the repr of a class of its own
_ALIAS = re.compile(r"TypeAliasForwardRef\('(?:aiowatermark\.)?([^']*)'\)")
_PAGE = re.compile(r"`?\bdocs/([\w/-]+)\.md\b`?")
# docutils would make a link of it
_SCHEME = re.compile(r"(?<![`\w])(https?://)(?![\w`])")
_UNREADABLE_DEFAULT = re.compile(r"= ?(<[^<>]*>|NOTHING)")


def convert_docstring(  # noqa: PLR0917 - Sphinx's signature
    app: Any,  # noqa: ARG001
    what: str,
    name: str,
    obj: Any,
    options: Any,
    lines: list[str],
) -> None:
    """Replace the lines of a docstring; a listener of `autodoc-process-docstring`."""
    if what in {"data", "type"}:
        # what is there may be the docstring of the value's class
        lines[:] = _lines_below(name.rpartition(".")[2], obj)
    elif what not in {"attribute", "property"}:
        # Google's style takes the text before a colon in the docstring of an attribute for its type
        lines[:] = GoogleDocstring(lines, _CONFIG, None, what, name, obj, options).lines()
    lines[:] = [_with_links(line) for line in lines]


def _lines_below(name: str, value: object) -> list[str]:
    """Return the text below an assignment, which autodoc does not find where the name was imported from elsewhere."""
    for module in [module for module in sys.modules if module.startswith("aiowatermark.")]:
        if vars(sys.modules[module]).get(name) is not value:
            continue
        try:
            found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
        except PycodeError:
            found = None
        if found is not None:
            return list(found)
    return []


def _with_links(line: str) -> str:
    line = _SCHEME.sub(r"``\1``", _PAGE.sub(r":doc:`/\1`", line))
    line = _CODE_NAME.sub(r":py:obj:`~aiowatermark.\1`", line)
    return line if line.startswith("    ") else _ERROR_NAME.sub(r":py:obj:`~aiowatermark.\1`", line)


def shorten_signature(  # noqa: PLR0917 - Sphinx's signature
    app: Any,  # noqa: ARG001
    what: str,  # noqa: ARG001
    name: str,  # noqa: ARG001
    obj: Any,  # noqa: ARG001
    options: Any,  # noqa: ARG001
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Return a signature and its return type for readers; a listener of `autodoc-process-signature`."""
    if signature is not None:
        signature = _UNREADABLE_DEFAULT.sub("= ...", _ALIAS.sub(r"\1", signature))
    return signature, returns and _ALIAS.sub(r"\1", returns)


def annotate_synchronous_properties() -> None:
    """Give the properties of the synchronous classes, which are made at import, the types of their counterparts."""
    for cls in [kind for name in sync.__all__ if hasattr(kind := getattr(sync, name), "async_class")]:
        for name, member in vars(cls).items():
            original = inspect.getattr_static(cls.async_class, name, None)
            if isinstance(member, property) and isinstance(original, property):
                member.fget.__annotations__["return"] = original.fget.__annotations__["return"]


def setup(app: Any) -> dict[str, bool]:
    """Register the listeners."""
    annotate_synchronous_properties()
    app.connect("autodoc-process-docstring", convert_docstring)
    app.connect("autodoc-process-signature", shorten_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
