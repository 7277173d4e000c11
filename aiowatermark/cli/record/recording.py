"""Recording: everything that was seen on one run, unredacted and in memory only; cassette.py writes what may be kept.

One run makes the calls of several paths, one after another. A path makes one or more flows (a submission, queries,
the balance), each of one or more requests. The transport sees requests only, so the flows are told apart here:

    request, repeated after a failure or a refusal for haste    attempts of one step: the same Request object
    steps up to the paid request                                one submission
    each step after it                                          a query of its own
    credits, unknown-task                                       each step is a flow of its own
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from attrs import define, field, frozen

from ... import Provider
from ...callbacks.registry import ReceivedRequest
from .exchanges import RecordedDownload, RecordedExchange
from .paths import RecordingPath

INTERRUPTED = "interrupted"
"""Outcome of a path that has not ended, also in a file that is written meanwhile."""


@define(eq=False)
class PathRecording:
    """What was seen of one path.

    `jobs` are the submitted jobs as cassettes write them, `task_id` is the provider's id, `error` the class and the
    text of the error that ended the path.
    """

    path: RecordingPath
    jobs: list[dict[str, Any]] = field(factory=list, repr=False)
    inputs: Sequence[str] = field(default=(), repr=False)
    task_id: str | None = field(default=None, repr=False)
    video: bool = False
    route: str | None = None
    exchanges: list[RecordedExchange] = field(factory=list, repr=False)
    downloads: list[RecordedDownload] = field(factory=list, repr=False)
    callbacks: list[RecordedCallback] = field(factory=list, repr=False)
    outcome: str = INTERRUPTED
    error: str = field(default="", repr=False)
    seconds: float = 0.0

    def flows(self) -> Iterator[RecordedFlow]:
        """Yield the flows in the order in which they were made; a submission that was not completed, too."""
        steps = [tuple(attempts) for _, attempts in groupby(self.exchanges, key=lambda each: id(each.request))]
        if self.path.call in {"credits", "query"}:
            yield from (RecordedFlow(self.path.call, (step,)) for step in steps)
            return
        jobs, submission, accepted = iter(self.jobs), list[Step](), False
        for step in steps:
            if accepted and step[0].request.repeatable:
                yield RecordedFlow("query", (step,))
                continue
            submission.append(step)
            if not step[0].request.repeatable:
                yield RecordedFlow("submit", tuple(submission), next(jobs, None))
                submission, accepted = [], True
        if submission:
            yield RecordedFlow("submit", tuple(submission), next(jobs, None))


Step = tuple[RecordedExchange, ...]
"""The attempts of one request, the last one last."""


@frozen(eq=False)
class RecordedFlow:
    """One flow: what it was, its requests, and the job it was made for."""

    call: str
    steps: tuple[Step, ...]
    job: Mapping[str, Any] | None = None

    def variants(self) -> Iterator[tuple[RecordedExchange, ...]]:
        """Yield the exchanges of the flow, and of what it would have been had it ended with an earlier attempt.

        So a refusal for haste, after which the request was repeated, is kept as an answer of its own.
        """
        before: tuple[RecordedExchange, ...] = ()
        for step in self.steps:
            answered = [attempt for attempt in step if attempt.response is not None]
            yield from ((*before, attempt) for attempt in answered[:-1])
            if not answered:
                return
            before = (*before, answered[-1])
        yield before


@frozen(eq=False)
class RecordedCallback:
    """A request to the callback URL, and the seconds since the path began."""

    request: ReceivedRequest = field(repr=False)
    seconds: float


@define(eq=False)
class Recording:
    """What was seen on one run."""

    kind: type[Provider]
    started: str
    paths: list[PathRecording] = field(factory=list)
    media: dict[str, tuple[int, str]] = field(factory=dict, repr=False)
