"""The task object of gpt.ge and PicWish, as answers and callbacks give it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen

from ..codec import Text, parse
from ..http_errors import unexpected
from ..jobs import Output, Snapshot, Status
from ..wire import Response, parsed
from ._parsing import link, share, whole

# state < 0, from the vendor's status code page; unknown negatives fail too
REASONS: Mapping[int, str] = {
    -1: "the task failed",
    -2: "the result could not be stored",
    -3: "the link could not be downloaded by the provider",
    -5: "the picture is too large",
    -7: "the picture file is invalid",
    -8: "the task timed out at the provider",
    -9: "the provider has an internal error",
    -10: "the content was refused",
    -11: "the result is empty",
    -13: "the task was cancelled",
    -14: "the input was refused",
    -15: "the provider has no resources left",
    -16: "the content was refused",
}
_NESTED = re.compile(r"data\[(\w+)\]")


@frozen
class _Task:
    task_id: Text | None = None
    state: Any = None
    progress: Any = None
    file: Any = None
    image: Any = None


def delivered(body: bytes) -> Any:
    """The task in a callback: JSON or a form, bare or in an envelope; undocumented, so every shape is tried."""
    payload = parsed(body)
    if payload is None:
        form = parse_qsl(body.decode(errors="replace"), max_num_fields=64)
        payload = {_NESTED.sub(r"\1", name): value for name, value in form}
    data = payload.get("data", payload) if isinstance(payload, dict) else None
    return parsed(data.encode()) if isinstance(data, str) else data


def snapshot_of(data: Any, reply: Response, task_id: str | None = None) -> Snapshot:
    """What a `data` object says: 1 is success, below 0 failure, everything else pending.

    The task keeps the name `task_id` it was asked by; without one, its name is the one it tells.
    """
    task = parse(data, _Task, reply)
    task_id = task_id or task.task_id
    state = 0 if task.state is None else whole(task.state)
    if state is None:
        unexpected("the task's state is no number", reply)
    if state < 0:
        reason = REASONS.get(state, f"the provider gave up with state {state}")
        return Snapshot(task_id, Status.FAILED, reason=reason, details={"state": state})
    if state != 1:
        progress = share(task.progress, of=100)
        return Snapshot(task_id, Status.RUNNING if state or progress else Status.QUEUED, progress)
    result = link(task.file) or link(task.image)
    if result is None:
        unexpected("the task is done and names no file", reply)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, (Output(result),))
