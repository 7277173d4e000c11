"""Talks with a flow as a client would, without a loop: answers in, its end and all it said out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiowatermark.jobs import Snapshot
from aiowatermark.provider import Exchange
from aiowatermark.wire import Request, Response


def answer(payload: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Response(status, headers or {}, body)


def talked(flow: Exchange[Any], *replies: Response) -> tuple[Any, list[Request | Snapshot]]:
    """Drive a flow with answers; gives its end and all it said on the way."""
    said: list[Request | Snapshot] = []
    left = list(replies)
    try:
        said.append(next(flow))
        while True:
            said.append(next(flow) if isinstance(said[-1], Snapshot) else flow.send(left.pop(0)))
    except StopIteration as end:
        assert not left
        return end.value, said
