"""The process in which one video is restored, so that it can be killed at any time and cannot harm its parent.

    python -m aiowatermark.emulator.restoration.video.worker SOURCE TARGET MASK MARK

The arguments are paths; `-` means no mask or no mark. The process writes one JSON object per line:

    {"progress": 0.25}                               at most 20 times a second, from 0 to 1
    {"has_watermark": true, "duration": 51.3}        the last line of a success; seconds
    {"error": "The mask is ..."}                     the last line of a failure: a sentence for the user

The exit code is 0 in both cases. A process that ends without a last line has crashed or was killed; what it left at
TARGET is the parent's to delete.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .restore import restore_video

# seconds between two lines of progress
_INTERVAL = 0.05


def _print_json(**fields: object) -> None:
    # flushed: stdout is a pipe, and the parent reads along
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _read_optional(argument: str) -> bytes | None:
    return None if argument == "-" else Path(argument).read_bytes()


class _ProgressPrinter:
    """Prints the share that is done, at most once in `_INTERVAL` seconds."""

    def __init__(self) -> None:
        self._printed_at = 0.0

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._printed_at >= _INTERVAL:
            self._printed_at = now
            _print_json(progress=share)


def main(arguments: Sequence[str]) -> None:
    """Restore the video and print the outcome in the last line."""
    source, target, mask, mark = arguments
    try:
        report = restore_video(
            Path(source),
            Path(target),
            mask=_read_optional(mask),
            mark=_read_optional(mark),
            progress=_ProgressPrinter(),
        )
    except (ValueError, OSError) as error:
        _print_json(error=str(error))
    else:
        _print_json(has_watermark=report.has_watermark, duration=report.duration)


if __name__ == "__main__":
    main(sys.argv[1:])
