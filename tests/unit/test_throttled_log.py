"""Messages about hostile input: at most one per kind and minute, with a count."""

from __future__ import annotations

import logging

import pytest

from aiowatermark.callbacks.throttle import ThrottledLog


def test_a_kind_is_logged_once_a_minute_with_the_number_of_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 5.0
    monkeypatch.setattr("aiowatermark.callbacks.throttle.monotonic", lambda: now)
    log = ThrottledLog(logging.getLogger("aiowatermark"))
    for second in range(150):
        now = 100.0 + second
        log.log(logging.WARNING, "refused", f"number {second}")
    log.log(logging.WARNING, "another kind")
    assert caplog.messages == [
        "refused: number 0",
        "refused: number 60 (59 more before)",
        "refused: number 120 (59 more before)",
        "another kind",
    ]
