"""Consoles of rich with the width of their terminal."""

from __future__ import annotations

import os
from typing import TextIO

from rich.console import Console


def make_console(stream: TextIO) -> Console:
    """Return a console that prints texts as they are.

    rich would believe COLUMNS and LINES, which may be inherited from another terminal: rows would be wrapped, and the
    cursor would move up by too few lines.
    """
    variables = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    return Console(file=stream, highlight=False, markup=False, emoji=False, _environ=variables)
