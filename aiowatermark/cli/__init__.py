"""The command line, the extra `[cli]`: every command is imported when it is called, and not before."""

from __future__ import annotations

import sys

from .console.extras import install_hint


def main() -> None:
    """Run the command line; where click is not installed, say how to install it and exit with 2."""
    try:
        from .app import aiowatermark  # noqa: PLC0415 - click is an optional extra
    except ModuleNotFoundError as error:
        sys.exit(_missing(error))
    aiowatermark(prog_name="aiowatermark")


def _missing(error: ModuleNotFoundError) -> int:
    print(install_hint(error), file=sys.stderr)
    return 2
