"""Photo Eraser's results: one output per picture, none lost, none under another picture's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from ..codec import parse
from ..errors import JobFailed
from ..http_errors import unexpected
from ..jobs import Output, Snapshot, Status
from ..media.base import redacted
from ..wire import Response
from ._parsing import link, number, whole, words

_FAILURES: Mapping[int, str] = {4: "the task failed", 5: "the task was closed", 6: "the task timed out"}


@frozen
class _Item:
    image_result: Any = None
    status: Any = None
    reason: Any = None
    image_url: Any = None

    @property
    def echo(self) -> str | None:
        """The identity of the picture it is about, where it says so."""
        source = link(self.image_url)
        return source.identity if source else None

    def output(self) -> Output:
        result = link(self.image_result)
        if result is not None and whole(self.status) not in _FAILURES:
            return Output(result)
        return _lost(f"this picture failed: {words(self.reason, 'no reason given')}")


@frozen
class _Task:
    status: Any = None
    wait_time: Any = None
    list: Any = None


def snapshot_of(task_id: str, data: Any, inputs: Sequence[str], reply: Response) -> Snapshot:
    """What the answer to a look says of a task."""
    task = parse(data, _Task, reply)
    status = whole(task.status)
    if status is None:
        unexpected("the task's status is no number", reply)
    if status in _FAILURES or status == 3:
        return _ended(task_id, status, parse(task.list or (), tuple[_Item, ...], reply), inputs)
    wait = number(task.wait_time) or 0.0
    return Snapshot(task_id, Status.RUNNING if status == 2 else Status.QUEUED, retry_after=wait if wait > 0 else None)


def _ended(task_id: str, status: int, items: Sequence[_Item], inputs: Sequence[str]) -> Snapshot:
    """A finished task succeeded if any of its pictures did; what a failed one did before is kept."""
    outputs = _aligned(items, inputs) if items or status == 3 else ()
    if status == 3 and any(output.media for output in outputs):
        return Snapshot(task_id, Status.SUCCEEDED, 1.0, outputs)
    reason = words(*(item.reason for item in items), _FAILURES.get(status, "the task is done without a result"))
    return Snapshot(task_id, Status.FAILED, None, outputs, reason)


def _aligned(items: Sequence[_Item], inputs: Sequence[str]) -> tuple[Output, ...]:
    """One output per input: by the echoed link where there is one, else by order where nothing speaks against it."""
    if not inputs:
        return tuple(item.output() for item in items)
    places, left = _placed(items, inputs)
    if (
        left
        and len(items) == len(inputs)
        and all(mine in (None, item) for mine, item in zip(places, items, strict=True))
    ):
        places, left = list(items), []
    return tuple(item.output() if item else _unplaced(left, len(items), len(inputs)) for item in places)


def _placed(items: Sequence[_Item], inputs: Sequence[str]) -> tuple[list[_Item | None], list[_Item]]:
    """The items that say whose they are, in the inputs' places, and the others; a picture given twice may have one."""
    left = list(items)
    found: dict[str, _Item] = {}
    places: list[_Item | None] = []
    for identity in inputs:
        item = next((item for item in left if item.echo == identity), None)
        if item is not None:
            left.remove(item)
            found[identity] = item
        places.append(found.get(identity))
    return places, left


def _unplaced(left: Sequence[_Item], results: int, pictures: int) -> Output:
    if not left:
        return _lost("the provider gave no result for this picture")
    links = ", ".join(redacted(result.url) for item in left if (result := link(item.image_result)))
    return _lost(f"the provider gave {results} results for {pictures} pictures and not whose they are: {links}")


def _lost(message: str) -> Output:
    return Output(error=JobFailed(message))
