"""Benchmark of observation: what a job of one submission and five polls costs in counters, log lines and events.

    python benchmarks/observation.py [--jobs 20000] [--check]

It calls the observer as the engine and the transport do, without sockets, and prints microseconds of CPU per job: with
logging at WARNING and no `on_event`, as most applications run, then with INFO, DEBUG and `on_event`. The lines go to a
handler that formats them and writes nothing.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from attrs import define, field

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.observation.observer import Observer
from aiowatermark.observation.requests import RequestTrace
from aiowatermark.wire import Request
from benchmarks.measure import Report

BOUND = 4.0
POLLS = 5
ORIGIN, TARGET = "https://techhk.aoscdn.com", "/api/tasks/visual/external/watermark-remove/task-1?language=en"
SUBMISSION, QUERY = Request("POST", TARGET), Request("GET", TARGET, repeatable=True)
UNSENT = Record("order-4711", "picwish")
ACCEPTED, RUNNING, SUCCEEDED = (
    Record("order-4711", "picwish", Snapshot("task-1", status))
    for status in (Status.QUEUED, Status.RUNNING, Status.SUCCEEDED)
)


class Formatting(logging.Handler):
    """Formats every line and drops it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Format the line."""
        self.format(record)


@define
class Content:
    """The body of an answer."""

    total_bytes: int = 400


@define
class Answer:
    """An answer as the observer sees it."""

    status: int = 200
    content: Content = field(factory=Content)


def run_job(observer: Observer, answer: Answer) -> None:
    """Report one job."""
    trace = observer.trace(UNSENT, resumed=False)
    with RequestTrace(observer, SUBMISSION, ORIGIN) as request:
        request.answer, request.bytes_up = answer, 100_000
    trace.changed(UNSENT.snapshot, ACCEPTED)
    for _ in range(POLLS):
        observer.counters.polls += 1
        with RequestTrace(observer, QUERY, ORIGIN) as request:
            request.answer = answer
    trace.changed(ACCEPTED.snapshot, RUNNING)
    trace.changed(RUNNING.snapshot, SUCCEEDED)


def measure(jobs: int, level: int, observer: Observer) -> float:
    """Return microseconds of CPU per job."""
    logging.getLogger("aiowatermark").setLevel(level)
    answer = Answer()
    before = time.process_time()
    for _ in range(jobs):
        run_job(observer, answer)
    return 1e6 * (time.process_time() - before) / jobs


def measure_line(lines: int) -> float:
    """Return microseconds of CPU per log line of the standard library, formatted and dropped."""
    logger = logging.getLogger("aiowatermark")
    logger.setLevel(logging.INFO)
    before = time.process_time()
    for number in range(lines):
        logger.info("job %s: submitted to %s", number, "picwish")
    return 1e6 * (time.process_time() - before) / lines


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    logger = logging.getLogger("aiowatermark")
    logger.addHandler(Formatting())
    logger.propagate = False
    report = Report(options.check, options.allow)
    off = min(measure(options.jobs, logging.WARNING, Observer()) for _ in range(3))
    line = min(measure_line(options.jobs) for _ in range(3))
    report.line("nobody listens", f"{off:8.1f} µs per job")
    report.line("one log line", f"{line:8.1f} µs")
    report.bound("nobody listens, per job / one log line", off / line, BOUND, "x")
    for name, level, observer in (
        ("INFO", logging.INFO, Observer()),
        ("DEBUG", logging.DEBUG, Observer()),
        ("on_event", logging.WARNING, Observer(lambda _: None)),
    ):
        report.line(name, f"{measure(options.jobs // 10, level, observer):8.1f} µs per job")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
