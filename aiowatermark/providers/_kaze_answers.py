"""Kaze's answers: where a task stands, and what the account holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ..codec import Numeric, parse
from ..http_errors import unexpected
from ..jobs import Output, Snapshot, Status
from ..provider import Credits
from ..wire import Response
from ._parsing import link, number, words


@frozen
class _Image:
    url: Any = None


_Images = tuple[_Image, ...]


@frozen
class _Task:
    status: str
    images: Any = None
    err_msg: Any = None


@frozen
class _Quota:
    remaining: Numeric
    limit: Any = None
    usage: Any = None


def snapshot_of(task_id: str | None, payload: Mapping[str, Any], reply: Response) -> Snapshot:
    """What the answer to a look says of a task."""
    task = parse(payload.get("data"), _Task, reply)
    status = task.status.lower()
    if status in {"failed", "timeout"}:
        # where err_msg stands is not documented
        return Snapshot(task_id, Status.FAILED, reason=words(task.err_msg, payload.get("err_msg"), status))
    if status != "success":
        return Snapshot(task_id, Status.RUNNING)
    images = parse(task.images or (), _Images, reply)
    outputs = tuple(Output(found) for image in images if (found := link(image.url)))
    if not outputs:
        unexpected("the task is done and names no image", reply)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, outputs)


def credits_of(data: Any, reply: Response) -> Credits:
    """What the account holds."""
    quota = parse(data, _Quota, reply)
    return Credits(quota.remaining, number(quota.usage), number(quota.limit))
