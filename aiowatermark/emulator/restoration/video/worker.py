"""The process in which one video is restored: SOURCE TARGET MASK MARK, with `-` for none; it tells in JSON lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .restore import restore_video

_EVERY = 0.05


def _print_json(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _bytes(argument: str) -> bytes | None:
    return None if argument == "-" else Path(argument).read_bytes()


class _Progress:
    """Tells how far it is, not more than some twenty times a second."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, value: float) -> None:
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            _print_json(progress=value)


def main(arguments: Sequence[str]) -> None:
    """Restore, and tell the outcome in the last line."""
    source, target, mask, mark = arguments
    try:
        report = restore_video(Path(source), Path(target), mask=_bytes(mask), mark=_bytes(mark), progress=_Progress())
    except (ValueError, OSError) as error:
        _print_json(error=str(error))
    else:
        _print_json(has_watermark=report.has_watermark, duration=report.duration)


if __name__ == "__main__":
    main(sys.argv[1:])
