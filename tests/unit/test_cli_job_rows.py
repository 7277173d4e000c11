"""The rows of `jobs`: readable in the width of the terminal, with what names a job only on request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from aiowatermark import Record, Snapshot, Status
from aiowatermark.cli.advice.job_states import State, state_of
from aiowatermark.cli.commands.job_rows import (
    as_json,
    as_text,
    format_size,
    header,
    show,
)
from aiowatermark.ledger import Attempt, settlement

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


def test_a_job_that_was_settled_as_unpaid_is_not_said_to_be_unsent() -> None:
    doubted = Record("order-1", "kaze", owner="gone", created_at=1e9, attempts=(Attempt(1e9, "shop"),))
    settled = doubted.take_over("", 2, doubted.created_at, None, settlement("unpaid", 2e9))
    assert state_of(settled, is_gone=True) is State.UNPAID
    shown = json.loads(as_json(settled, State.UNPAID))
    assert shown["reason"].startswith("settled as unpaid, and not submitted since: it is not at the provider")
    assert shown["since"] == 1e9
    submitted = settled.take_over("client", 3, 2e9, None, "taken over")
    assert state_of(submitted, is_gone=True) is State.UNSENT
    assert json.loads(as_json(submitted, State.UNSENT))["reason"] is None


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time is nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_the_times_of_one_job_are_local_and_those_of_lines_for_programs_are_seconds() -> None:
    notes = ("taken over from the client a: nothing was paid", settlement("task 7", 1e9))
    record = Record("k", "kaze", created_at=1e9, accepted_at=1e9 + 60, attempts=(Attempt(1e9, "a"),), history=notes)
    shown = json.loads(show(record, State.RUNNING))
    assert (shown["since"], shown["accepted_at"]) == ("2001-09-09T10:46:40+09:00", "2001-09-09T10:47:40+09:00")
    assert shown["attempts"][0]["at"] == "2001-09-09T10:46:40+09:00"
    assert shown["history"] == [notes[0], "2001-09-09T10:46:40+09:00 operator: settled as task 7"]
    line = json.loads(as_json(record, State.RUNNING))
    assert (line["since"], line["accepted_at"], line["attempts"][0]["at"]) == (1e9, 1e9 + 60, 1e9)
    assert (line["v"], shown["v"]) == (1, 2)


def test_a_job_whose_times_are_not_known_is_shown() -> None:
    shown = json.loads(show(Record("k", "kaze"), State.IN_DOUBT))
    assert (shown["since"], shown["accepted_at"]) == (None, None)


def test_why_an_attempt_had_no_effect_is_said_in_words_to_people_and_by_name_to_programs() -> None:
    attempts = (Attempt(1e9, "a", "not accepted: RateLimited"), Attempt(1e9, "a", "accepted"), Attempt(1e9, "a"))
    record = Record("k", "kaze", attempts=attempts)
    shown = [each["outcome"] for each in json.loads(show(record, State.RUNNING))["attempts"]]
    assert shown == ["not accepted: rate limited", "accepted", None]
    assert json.loads(as_json(record, State.RUNNING))["attempts"][0]["outcome"] == "not accepted: RateLimited"
