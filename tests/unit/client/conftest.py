"""A provider that is asked over a script instead of a wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from aiowatermark.errors import ProviderUnavailable
from aiowatermark.media.base import ProgressCallback
from aiowatermark.wire import Request, Response


def answer(status: int = 200, headers: dict[str, str] | None = None, **payload: Any) -> Response:
    """An answer with a JSON object."""
    return Response(status, headers or {}, json.dumps(payload).encode())


def broken(*, sent: bool) -> ProviderUnavailable:
    """What a transport raises where no answer came."""
    error = ProviderUnavailable("no answer came")
    error.sent = sent
    return error


class ScriptedTransport:
    """Answers requests from two queues, submits and looks; the last answer of a queue stays."""

    def __init__(self) -> None:
        self.submits: list[Any] = [answer(status=200, data={"task_id": "task-1"})]
        self.looks: list[Any] = [
            answer(status=200, data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"})
        ]
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.gate: asyncio.Event | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def perform(self, request: Request, *, timeout: float, progress: ProgressCallback | None = None) -> Response:  # noqa: ASYNC109
        self.requests.append(request)
        self.times.append(asyncio.get_running_loop().time())
        queue = self.looks if request.repeatable else self.submits
        said = queue.pop(0) if len(queue) > 1 else queue[0]
        if self.gate is not None and not request.repeatable:
            await self.gate.wait()
        said = said() if callable(said) else said
        if isinstance(said, BaseException):
            raise said
        assert isinstance(said, Response)
        return said

    async def download(
        self, url: str, target: Path, max_bytes: int | None, progress: ProgressCallback | None = None
    ) -> None:
        raise AssertionError(url)

    async def read(self, url: str, max_bytes: int | None) -> bytes:
        raise AssertionError(url)

    @property
    def submitted(self) -> int:
        """How many paid requests were made."""
        return sum(not request.repeatable for request in self.requests)


@pytest.fixture
def wire() -> ScriptedTransport:
    """A script in place of a wire."""
    return ScriptedTransport()


@pytest.fixture(name="answer")
def _answer() -> Callable[..., Response]:
    """Makes answers."""
    return answer


@pytest.fixture(name="broken")
def _broken() -> Callable[..., ProviderUnavailable]:
    """Makes what a transport raises."""
    return broken


PENDING = answer(status=200, data={"task_id": "task-1", "state": 0})


@pytest.fixture
def pending() -> Response:
    """A look that says: not yet."""
    return PENDING
