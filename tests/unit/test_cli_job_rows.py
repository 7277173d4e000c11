"""The rows of `jobs`: readable in the width of the terminal, with what names a job only on request."""

from __future__ import annotations

import time

import pytest

from aiowatermark import Record, Snapshot, Status
from aiowatermark.cli.commands.job_rows import State, as_text, format_size, header

RECORD = Record(
    "content-0123456789abcdef0123456789abcdef01234567",
    "kaze",
    Snapshot("task-4711", Status.RUNNING),
    inputs=("a-picture-with-a-long-name-from-the-holidays-in-2026-07.jpg:2350000",),
)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_job_is_one_line_of_the_terminal_with_its_name_first(columns: int) -> None:
    record = RECORD
    for names in ([], ["photos/holidays/in-2026/a-picture-with-a-long-name.jpg"]):
        line = as_text(record, State.RUNNING, names, columns=columns, verbose=False)
        assert len(line) <= columns
        assert len(header(columns)) <= columns
        assert line.startswith("photo" if names else "a-p")
        assert line.split()[-1] == "-", "the age"
        assert "2.4 MB" in line
        assert record.key not in line


def test_what_is_not_a_terminal_gets_whole_names() -> None:
    name = "photos/" * 30 + "a.jpg"
    assert as_text(RECORD, State.RUNNING, [name], columns=0, verbose=False).startswith(f"{name}  2.4 MB")


def test_keys_and_tokens_are_shown_on_request() -> None:
    text = as_text(RECORD, State.RUNNING, ["a.jpg"], columns=80, verbose=True)
    assert all(part in text for part in (RECORD.key, RECORD.token, "task-4711", "kaze"))


def test_a_job_of_a_url_is_named_by_its_key_where_nothing_else_is_known() -> None:
    record = Record("order-1", "kaze", Snapshot(None, Status.IN_DOUBT), inputs=("digest",), created_at=time.time())
    line = as_text(record, State.IN_DOUBT, [], columns=80, verbose=False)
    assert line.split() == ["order-1", "-", "in", "doubt", "0", "s"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (2_350_000, "2.4 MB"),
        (123_456_789, "123 MB"),
        (5 * 10**12, "5.0 TB"),
    ],
)
def test_sizes_are_said_in_units(size: int, text: str) -> None:
    assert format_size(size) == text
