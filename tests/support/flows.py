"""Drives a provider's flow without an event loop: prepared responses in, its return value and its steps out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from aiowatermark.jobs import Snapshot
from aiowatermark.provider import Exchange, Flow
from aiowatermark.wire import Request, Response

T = TypeVar("T")


def response(payload: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response whose body is `payload`: bytes, or anything to be encoded as JSON."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Response(status, headers or {}, body)


def first_request(flow: Exchange[Any]) -> Request:
    """Return the first request of a flow, which is not run any further."""
    request = next(flow)
    assert isinstance(request, Request)
    return request


def drive_flow(flow: Exchange[T], *responses: Response) -> tuple[T, list[Request | Snapshot]]:
    """Run a flow to its end; return its value and everything it yielded. All responses must be used."""
    steps: list[Request | Snapshot] = []
    remaining = list(responses)
    try:
        steps.append(next(flow))
        while True:
            steps.append(next(flow) if isinstance(steps[-1], Snapshot) else flow.send(remaining.pop(0)))
    except StopIteration as end:
        assert not remaining
        value: T = end.value
        return value, steps


def drive_to_snapshot(flow: Flow, *responses: Response) -> Snapshot:
    """Run a flow to its end, as `drive_flow` does, and return the snapshot it returns."""
    snapshot, _ = drive_flow(flow, *responses)
    assert isinstance(snapshot, Snapshot)
    return snapshot
