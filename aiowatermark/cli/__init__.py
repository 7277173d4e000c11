"""Command line (extra `[cli]`); each command is imported only when it is called."""

from __future__ import annotations

import io
import sys

from .console.extras import install_hint


def main() -> None:
    """Run the command line; without click, print how to install it and exit with 2."""
    try:
        from .app import aiowatermark  # noqa: PLC0415 - click is an optional extra
    except ModuleNotFoundError as error:
        print(install_hint(error), file=sys.stderr)
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a file name that the terminal cannot show must not end a batch
            stream.reconfigure(errors="backslashreplace")
    aiowatermark(prog_name="aiowatermark")
