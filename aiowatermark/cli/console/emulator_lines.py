"""Lines of `aiowatermark emulator`: one for each request and each callback, which fits the width of a terminal.

Where it does not fit, the job is shortened in its middle, and then the path; in a pipe or a file both are whole.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from ...emulator import CallbackAttempt, ServedRequest
from .texts import printable, shorten

_SHORT_JOB, _SHORT_PATH = 13, 4
"""Characters of a job and, at least, of a path that are shown where a line does not fit."""


def request_line(request: ServedRequest, columns: int = 0) -> str:
    """Return a request as a line of at most so many columns, 0 for any number: what was charged only if it was."""
    status = "closed" if request.status is None else request.status
    charge = f"  {'charge' if request.charges > 0 else 'refund'} {abs(request.charges)}" if request.charges else ""
    end = f"{charge}  {request.seconds * 1000:.0f} ms"
    return _fitted(
        lambda path, job: f"{request.method:<4}  {path}  {status}  job {job}{end}",
        request.path,
        request.task_id or "-",
        columns,
    )


def callback_line(attempt: CallbackAttempt, url: str, columns: int = 0) -> str:
    """Return a callback to a URL as a line of at most so many columns, 0 for any number.

    The path is shown without the key at its end, which is a secret.
    """
    status = attempt.reason or "no answer" if attempt.status is None else attempt.status
    path = f"{urlsplit(url).path.rpartition('/')[0]}/…"
    return _fitted(lambda path, job: f"CALLBACK  {path}  {status}  job {job}", path, attempt.task_id, columns)


def _fitted(line: Callable[[str, str], str], path: str, job: str, columns: int) -> str:
    path, job = printable(path), printable(job)
    if not columns or len(line(path, job)) <= columns:
        return line(path, job)
    job = shorten(job, _SHORT_JOB)
    free = columns - len(line("", job))
    return line(shorten(path, max(free, _SHORT_PATH)), job)
