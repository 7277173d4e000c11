"""Searches log lines for the keys that tests use."""

from __future__ import annotations

import logging
from collections.abc import Mapping

# part of every secret in the tests, and of nothing else
CANARY = "canary"
KEYS: Mapping[str, str | tuple[str, str]] = {
    "gptge": f"{CANARY}-gptge-1",
    "picwish": f"{CANARY}-picwish-2",
    "kaze": f"{CANARY}-kaze-3",
    "photoeraser": (f"{CANARY}-photoeraser-4", f"{CANARY}-photoeraser-5"),
    "dewatermark": f"{CANARY}-dewatermark-6",
}


class SecretSearch(logging.Handler):
    """Collects in `found` every log line that contains a secret, its traceback included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if CANARY in text:
            self.found.append(text)
