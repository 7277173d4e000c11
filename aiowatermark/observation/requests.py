"""RequestTrace: what is observed of one HTTP request, counted always, and described only if that is wanted."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from ..redaction import redacted_location
from ..wire import Request
from .events import REQUEST_ENDED, RequestEnded, RequestStarted, fields_of, request_log, write

if TYPE_CHECKING:
    from .observer import Observer


class AnswerBody(Protocol):
    """The body of an answer as it arrives."""

    total_bytes: int


class Answer(Protocol):
    """An HTTP answer, as aiohttp has it."""

    @property
    def status(self) -> int:
        """The status."""
        ...

    @property
    def content(self) -> AnswerBody:
        """The body."""
        ...


class Sending(Protocol):
    """A body that is sent in chunks."""

    sent: int


class RequestTrace:
    """What is observed of one request, until `__exit__`; its sender sets `answer` and `bytes_up`.

    `stream` counts what is sent of its body.
    """

    __slots__ = ("_description", "_observer", "_started", "_stream", "answer", "bytes_up")

    def __init__(self, observer: Observer, request: Request, origin: str, stream: Sending | None = None) -> None:
        self._observer = observer
        self._stream = stream
        self._description: tuple[int, str, str, str, str] | None = None
        self.answer: Answer | None = None
        self.bytes_up = 0
        observer.requests_started += 1
        if observer.hooked or request_log.isEnabledFor(REQUEST_ENDED.level):
            # decided here, and once, because redaction takes longer than all the rest
            self._description = (observer.requests_started, *_describe(request, origin))
            observer.call(RequestStarted(*self._description))
            self._started = observer.clock()

    def __enter__(self) -> Self:
        """Return the trace."""
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """The request ended."""
        answer, counters = self.answer, self._observer.counters
        counters.requests += 1
        if self._stream is not None:
            self.bytes_up = self._stream.sent
        counters.bytes_up += self.bytes_up
        if answer is not None:
            counters.bytes_down += answer.content.total_bytes
        if self._description is not None:
            self._report(self._description, None if kind is None else kind.__name__)

    def _report(self, description: tuple[int, str, str, str, str], error: str | None) -> None:
        status, bytes_down = (None, 0) if self.answer is None else (self.answer.status, self.answer.content.total_bytes)
        seconds = self._observer.clock() - self._started
        ended = RequestEnded(*description, status, error, seconds, self.bytes_up, bytes_down)
        write(REQUEST_ENDED, fields_of(REQUEST_ENDED, ended), outcome=_outcome_of(status, error))
        self._observer.call(ended)


def _outcome_of(status: int | None, error: str | None) -> str:
    """Return how a request ended, in words."""
    if error is None:
        return str(status)
    return f"no answer ({error})" if status is None else f"{status}, then {error}"


def _describe(request: Request, origin: str) -> tuple[str, str, str, str]:
    """Return purpose, method, host and path of a request; `origin` is that of the API."""
    if not request.signed:
        purpose = "query" if request.repeatable else "submission"
        return purpose, request.method, *redacted_location(origin + request.target)
    host, path = redacted_location(request.target)
    # a URL to upload to is a credential as a whole, and the name of its bucket is not shown
    return ("download", "GET", host, path) if request.method == "GET" else ("upload", request.method, host, "/…")
