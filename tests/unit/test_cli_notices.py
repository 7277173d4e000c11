"""What the library logs, as the command line says it; the report of charges."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from aiowatermark import Charge, ProviderUnavailable, RateLimited
from aiowatermark.cli.batch.items import ItemStatus, Outcome, Outcomes
from aiowatermark.cli.batch.json_lines import outcome_line
from aiowatermark.cli.batch.report import format_line
from aiowatermark.cli.console.notices import show_notices
from aiowatermark.cli.console.progress import ProgressDisplay
from aiowatermark.observation.events import REQUEST_REPEATED, write

log = logging.getLogger("aiowatermark")


@pytest.fixture
def said() -> Iterator[StringIO]:
    """What is said while the test logs."""
    stream = StringIO()
    with show_notices(ProgressDisplay(stream, None), "Kaze"):
        yield stream


def repeated(seconds: float, problem: Exception) -> dict[str, Any]:
    """The fields of the event."""
    return {"seconds": seconds, "error": type(problem).__name__, "reason": str(problem)}


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (ProviderUnavailable("could not be reached", sent=False), "Kaze: not reachable, next try in 4 s\n"),
        (RateLimited("slow down"), "Kaze: too many requests, next try in 4 s\n"),
        (
            ProviderUnavailable("Kaze has a server error"),
            "Kaze: an error (Kaze has a server error), next try in 4 s\n",
        ),
    ],
)
def test_a_request_that_is_repeated_is_said_with_its_reason(said: StringIO, problem: Exception, line: str) -> None:
    write(REQUEST_REPEATED, repeated(4.2, problem))
    assert said.getvalue() == line


def test_events_with_names_are_understood_by_their_fields(said: StringIO) -> None:
    fields = {"event": "request.repeated", "seconds": 4.2, "error": "ProviderUnavailable", "reason": "refused"}
    log.info("any text", extra=fields)
    log.info(
        "any text",
        extra={"event": "query.failed", "error": "ProviderUnavailable", "reason": "HTTP 500"},
    )
    log.warning("any text", extra={"event": "job.in_doubt"})
    assert said.getvalue().splitlines() == [
        "Kaze: not reachable, next try in 4 s",
        "Kaze: a query failed and is repeated: HTTP 500",
    ]


def test_notices_of_one_kind_are_not_repeated_at_once(said: StringIO) -> None:
    for _ in range(100):
        write(REQUEST_REPEATED, repeated(1.0, RateLimited("slow down")))
    assert len(said.getvalue().splitlines()) == 1


def test_a_warning_is_said_once_and_what_the_summary_says_is_left_to_it(said: StringIO) -> None:
    for _ in range(3):
        log.warning("%s", "a.gif is animated: one frame comes back")
    log.warning("job %s is in doubt and may be paid", "k")
    log.warning("job %s is not finished; resume it with %s", "k", "aw2.token")
    log.warning("job %s: the result is unchanged: it equals the input", "k")
    log.warning("job %s: uploading of owner %s taken over", "k", "o")
    log.info("job k is something else")
    assert said.getvalue() == "Warning: a.gif is animated: one frame comes back\n"


def test_the_number_of_warnings_is_bounded(said: StringIO) -> None:
    for number in range(1000):
        log.warning("%d.gif is animated", number)
    lines = said.getvalue().splitlines()
    assert len(lines) == 21
    assert lines[-1] == "Warning: further warnings are not shown"


def test_the_logger_is_left_as_it_was() -> None:
    before = log.level, list(log.handlers)
    with show_notices(ProgressDisplay(StringIO(), None), "Kaze"):
        assert log.isEnabledFor(logging.INFO)
    assert (log.level, log.handlers) == before


def outcome(key: str, name: str, credits: float) -> Outcome:  # noqa: A002 - the providers' word
    charge = Charge(credits, "answer")
    return Outcome(name, Path(f"clean/{name}"), ItemStatus.DONE, "picwish", 1.25, key=key, charge=charge)


class CollectingListener:
    """Keeps all outcomes."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.outcomes: list[Outcome] = []

    async def check(self) -> None:
        """Nothing can fail."""

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    async def save(self, code: int, *, err: bool) -> int:
        return code


def test_a_charge_is_shown_with_the_result_and_counted_once_for_one_job() -> None:
    listener = CollectingListener()
    outcomes = Outcomes(listener)
    for each in (outcome("k1", "a.jpg", 1.0), outcome("k1", "copy.jpg", 1.0), outcome("k2", "b.jpg", 0.5)):
        outcomes.add(each)
    assert outcomes.charges.text == "for 1.5 credits"
    assert [each.source for each in listener.outcomes] == ["a.jpg", "copy.jpg", "b.jpg"]
    assert format_line(outcome("k1", "a.jpg", 1.0)).endswith("1.2 s (1 credit)")
    assert '"charge": {"credits": 1.0, "source": "answer"}' in outcome_line(outcome("k1", "a.jpg", 1.0))
    assert not Outcomes().charges.text


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ([], "for 2 credits"),
        ([(ItemStatus.FAILED, "k1")], "for 2 credits"),
        ([(ItemStatus.FAILED, "k2")], "for 2 credits (known for 1 of 2 jobs)"),
        ([(ItemStatus.IN_DOUBT, "k2")], "for 2 credits, plus what 1 in doubt may have cost"),
        (
            [(ItemStatus.DONE, "k2"), (ItemStatus.IN_DOUBT, "k3"), (ItemStatus.IN_DOUBT, "k4")],
            "for 2 credits (known for 1 of 2 jobs), plus what 2 in doubt may have cost",
        ),
    ],
)
def test_what_is_not_known_of_the_cost_is_said(others: list[tuple[ItemStatus, str]], text: str) -> None:
    charges = Outcomes().charges
    charges.add(outcome("k1", "a.jpg", 2.0))
    for status, key in others:
        charges.add(Outcome("b.jpg", None, status, "picwish", 1.0, key=key, may_be_paid=True))
    charges.add(Outcome("c.jpg", None, ItemStatus.REFUSED, "picwish", 1.0))
    assert charges.text == text
