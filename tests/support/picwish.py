"""A client of PicWish over a scripted transport, and the responses PicWish gives."""

from __future__ import annotations

import json
from typing import Any

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport, json_response

LINK = "https://images.example/a.png"
ACCEPTED = json_response(status=200, data={"task_id": "task-1"})
PENDING = json_response(status=200, data={"task_id": "task-1", "state": 0})
FINISHED = json_response(status=200, data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"})


def delivery(**payload: Any) -> aw.Delivery:
    """Return a callback whose body is a JSON object."""
    return aw.Delivery(json.dumps(payload).encode(), "application/json")


def scripted_client(transport: ScriptedTransport, *, provider: aw.Provider | None = None, **settings: Any) -> aw.Client:
    """A client without a rate limit; `settings` are those of `aw.Client`."""
    provider = provider or aw.PicWish("canary-1", requests_per_second=None)
    return aw.Client(provider, transport=transport, **settings)
