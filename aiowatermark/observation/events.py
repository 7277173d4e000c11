"""Events: their names, levels and fields in one table, and the objects that `on_event` gets.

Every event with a name is written to the log by `write`, with its name and its fields in `extra`. The names and the
fields are stable; the text of a line is not. docs/observability.md lists them, and a test compares it with EVENTS.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from logging import DEBUG, INFO, WARNING
from typing import Any

from attrs import frozen

from ..introspection import documented
from ..jobs import Status

log = logging.getLogger("aiowatermark")
request_log = logging.getLogger("aiowatermark.requests")


@frozen
class EventType:
    """An event: its name, the level of its log line, the line, its fields, and what it means.

    `hooked`: whether `on_event` gets it, too. `words`: what the line has besides fields, in words.
    """

    name: str
    level: int
    text: str
    fields: tuple[str, ...]
    meaning: str
    hooked: bool = True
    logger: logging.Logger = log
    words: tuple[str, ...] = ()


_JOB = ("job", "provider", "task_id", "status")

JOB_SUBMITTED = EventType(
    "job.submitted", INFO, "job %(job)s: submitted to %(provider)s", _JOB, "A client takes a job, to send it."
)
JOB_RESUMED = EventType(
    "job.resumed",
    INFO,
    "job %(job)s: waited for again (task %(task_id)s)",
    _JOB,
    "A job that was submitted before is waited for: `resume`, `recover`, or another replica died.",
)
JOB_FOUND = EventType(
    "job.found",
    INFO,
    "job %(job)s: its key is known (%(status)s), so nothing is submitted",
    _JOB,
    "The store has a job under this key; it is shared and not paid again.",
)
JOB_ACCEPTED = EventType(
    "job.accepted",
    INFO,
    "job %(job)s: accepted by %(provider)s as task %(task_id)s",
    (*_JOB, "seconds"),
    "The provider has the job, which is paid from now on.",
)
JOB_RUNNING = EventType(
    "job.running",
    INFO,
    "job %(job)s: %(provider)s works on it",
    (*_JOB, "seconds"),
    "The provider reports that it works on the job.",
)
JOB_SUCCEEDED = EventType(
    "job.succeeded",
    INFO,
    "job %(job)s: succeeded",
    (*_JOB, "seconds", "charged"),
    "The provider reports the result.",
)
JOB_FAILED = EventType(
    "job.failed",
    INFO,
    "job %(job)s: failed: %(reason)s",
    (*_JOB, "seconds", "charged", "reason"),
    "The provider reports that the job failed, or does not know it any more.",
)
JOB_REJECTED = EventType(
    "job.rejected",
    INFO,
    "job %(job)s: refused by %(provider)s, nothing was paid: %(reason)s",
    (*_JOB, "error", "reason"),
    "The provider refused the submission; nothing was paid.",
)
JOB_UNSENT = EventType(
    "job.unsent",
    INFO,
    "job %(job)s: ended before anything was paid: %(reason)s",
    (*_JOB, "error", "reason"),
    "The submission ended before it could be paid: not reachable, cancelled, media that cannot be read.",
)
JOB_IN_DOUBT = EventType(
    "job.in_doubt",
    WARNING,
    "job %(job)s is in doubt and may be paid (%(reason)s); its token is %(token)s. Look for it in your account at "
    "%(provider)s, then run one of: %(advice)s",
    (*_JOB, "error", "reason", "token", "advice"),
    "The paid request was sent and its answer is not known; it is not sent again.",
)
JOB_CONFIRMED = EventType(
    "job.confirmed",
    INFO,
    "job %(job)s was in doubt; its callback proves that the provider accepted it: resume it with %(token)s",
    (*_JOB, "token"),
    "A callback settled a doubt: the provider has the job.",
)
JOB_SETTLED = EventType(
    "job.settled",
    WARNING,
    "job %(job)s, which was in doubt, is settled: %(reason)s",
    (*_JOB, "reason"),
    "A doubt was settled with `settle`.",
    hooked=False,
)
JOB_FORGOTTEN = EventType(
    "job.forgotten",
    WARNING,
    "job %(job)s was forgotten in state %(status)s: its key is charged anew",
    _JOB,
    "The job's record was deleted with `forget`.",
)
JOB_DEADLINE_EXCEEDED = EventType(
    "job.deadline_exceeded",
    INFO,
    "job %(job)s: did not end before its deadline; resume it with %(token)s",
    (*_JOB, "seconds", "error", "reason", "token"),
    "The wait for a job at the provider ended; the job goes on there.",
)
JOB_UNFINISHED = EventType(
    "job.unfinished",
    WARNING,
    "job %(job)s is not finished; resume it with %(token)s",
    (*_JOB, "seconds", "error", "reason", "token"),
    "The wait for a job that may be paid ended otherwise: the client closed, or its queries are refused.",
)
RESULT_SAVED = EventType(
    "result.saved",
    INFO,
    "job %(job)s: %(bytes)s bytes of its result were saved",
    (*_JOB, "bytes"),
    "An output was written to a file.",
)
RESULT_READ = EventType(
    "result.read",
    INFO,
    "job %(job)s: %(bytes)s bytes of its result were read",
    (*_JOB, "bytes"),
    "An output was read into memory.",
)
CALLBACK_RECEIVED = EventType(
    "callback.received",
    DEBUG,
    "job %(job)s: a callback arrived",
    _JOB,
    "A callback for the job arrived; it causes a query.",
)
QUERY_FAILED = EventType(
    "query.failed",
    INFO,
    "job %(job)s: a query failed: %(reason)s",
    (*_JOB, "error", "reason"),
    "The state of a job could not be queried; the wait goes on.",
)
REQUEST_STARTED = EventType(
    "request.started",
    DEBUG,
    "%(method)s %(host)s%(path)s",
    ("number", "purpose", "method", "host", "path"),
    "A request begins. It has no log line of its own.",
)
REQUEST_ENDED = EventType(
    "request.ended",
    DEBUG,
    "%(method)s %(host)s%(path)s: %(outcome)s in %(ms)s ms, %(bytes_up)s bytes sent, %(bytes_down)s received",
    ("number", "purpose", "method", "host", "path", "status", "error", "ms", "bytes_up", "bytes_down"),
    "A request ended, with an answer of any status or with an error.",
    logger=request_log,
    words=("outcome",),
)
REQUEST_REPEATED = EventType(
    "request.repeated",
    INFO,
    "repeating a request in %(seconds).1f s: %(reason)s",
    ("seconds", "error", "reason"),
    "An attempt had no effect, or was of a free request; it is made again after so many seconds.",
    hooked=False,
)
DOWNLOAD_RESUMED = EventType(
    "download.resumed",
    INFO,
    "download of %(url)s resumes at byte %(byte)d: %(reason)s",
    ("url", "byte", "reason"),
    "A download was interrupted and is continued.",
    hooked=False,
)

EVENTS: Mapping[str, EventType] = {each.name: each for each in list(globals().values()) if isinstance(each, EventType)}
"""All events by name."""


@documented
@frozen
class RequestStarted:
    """A request to the provider's API or to a storage host begins.

    Args:
        number: counts the requests of a client; the end of this request has the same.
        purpose: "submission" (the paid request), "query" (any other call of the API), "upload", or "download".
        method: the HTTP method.
        host: the host and the port if the URL has one.
        path: the path of the URL, without its query; parts that look like a key are replaced by "…", and all of it
            for an upload.
    """

    number: int
    purpose: str
    method: str
    host: str
    path: str


@documented
@frozen
class RequestEnded:
    """A request ended. Its first five fields are those of `RequestStarted`.

    Args:
        number: counts the requests of a client.
        purpose: "submission", "query", "upload" or "download".
        method: the HTTP method.
        host: the host and the port if the URL has one.
        path: the path of the URL, without its query.
        status: the status of the answer; None if there was none.
        error: the name of the class of the error that ended it, None after a complete answer.
        seconds: how long it took, from connecting to the end of the answer.
        bytes_up: the bytes of the body that were handed over; headers are not counted.
        bytes_down: the bytes of the answer's body.
    """

    number: int
    purpose: str
    method: str
    host: str
    path: str
    status: int | None
    error: str | None
    seconds: float
    bytes_up: int
    bytes_down: int

    @property
    def ms(self) -> float:
        """How long it took, in milliseconds."""
        return round(self.seconds * 1000, 1)


@documented
@frozen
class JobChanged:
    """A job changed. Fields that the event does not have are None; `docs/observability.md` lists them.

    Args:
        event: the name of the event, such as "job.accepted".
        job: the job's key.
        provider: the provider's name.
        task_id: the provider's id of the job, None while unknown.
        status: the state of the job.
        seconds: the time since the job was submitted; None for a job that another client submitted.
        charged: what the job cost, in the provider's credits; None while unknown.
        error: the name of the error's class.
        reason: why, on one line, without secrets.
        token: a text that resumes the job.
        bytes: the size of the result.
        advice: the commands that settle a doubt; Python calls if the command line cannot open the store.
    """

    event: str
    job: str
    provider: str
    task_id: str | None
    status: Status
    seconds: float | None = None
    charged: float | None = None
    error: str | None = None
    reason: str | None = None
    token: str | None = None
    bytes: int | None = None
    advice: str | None = None


def write(event: EventType, values: Mapping[str, Any], **words: str) -> None:
    """Write the log line of an event, with its name and fields in `extra`; costs one check if its level is off.

    `words` are for the line only, in which what is not known is said to be that.

    What a filter or handler of the application raises is dropped: no job may fail or be in doubt because of a line.
    """
    if event.logger.isEnabledFor(event.level):
        shown = {name: "unknown" if value is None else value for name, value in {**values, **words}.items()}
        with suppress(Exception):
            event.logger.log(event.level, event.text, shown, extra={"event": event.name, **values})


def fields_of(event: EventType, source: object) -> dict[str, Any]:
    """Return the fields of an event, which are attributes of `source`."""
    return {name: getattr(source, name) for name in event.fields}
