"""RequestTrace: what is observed of one HTTP request, counted always, and described only if that is wanted."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from ..redaction import redacted_location
from .events import REQUEST_ENDED, RequestEnded, RequestStarted, fields_of, write

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

    def __init__(
        self, observer: Observer, purpose: str, method: str, origin: str, target: str, stream: Sending | None
    ) -> None:
        self._observer = observer
        self._stream = stream
        self._description: tuple[int, str, str, str, str] | None = None
        self.answer: Answer | None = None
        self.bytes_up = 0
        observer.requests_started += 1
        if observer.wants(REQUEST_ENDED):
            # decided here, and once, because redaction takes longer than all the rest
            self._description = (observer.requests_started, purpose, method, *_location(purpose, origin + target))
            observer.call(RequestStarted(*self._description))
            self._started = observer.clock()

    def __enter__(self) -> Self:
        """Return the trace."""
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """The request ended."""
        observer, answer, counters = self._observer, self.answer, self._observer.counters
        bytes_up = self.bytes_up if self._stream is None else self._stream.sent
        bytes_down = 0 if answer is None else answer.content.total_bytes
        counters.requests += 1
        counters.bytes_up += bytes_up
        counters.bytes_down += bytes_down
        if self._description is not None:
            status, error = None if answer is None else answer.status, None if kind is None else kind.__name__
            seconds = observer.clock() - self._started
            ended = RequestEnded(*self._description, status, error, seconds, bytes_up, bytes_down)
            write(REQUEST_ENDED, fields_of(REQUEST_ENDED, ended))
            observer.call(ended)


def _location(purpose: str, url: str) -> tuple[str, str]:
    host, path = redacted_location(url)
    # a URL to upload to is a credential as a whole, and the name of its bucket is not shown
    return host, "/…" if purpose == "upload" else path
