"""The dialect gpt.ge and PicWish share: a form in, one `data` object out, at submit and at every look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote

from attrs import field, frozen

from ..codec import TextLike, parse
from ..errors import InsufficientCredits, UnexpectedAnswer, WatermarkError
from ..http_errors import error_from_response, mentions_billing, raise_unexpected
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.memory import Link
from ..provider import Flow, Provider
from ..wire import Delivery, Multipart, Request, Response, Value, parse_json
from ._parsing import parse_task_id, require_task_id, to_bool, to_fraction, to_int, to_link


@frozen
class SyncOptions:
    """`sync=True`: the provider answers the submit with the result, where it is quick enough."""

    sync: bool = field(default=False, converter=to_bool)


@frozen(kw_only=True, slots=False)
class VisualProvider(Provider):
    """The dialogue of both; subclasses give paths and headers."""

    submit_path: ClassVar[str]
    query_path: ClassVar[str]
    Options = SyncOptions

    def submit(self, job: Job, callback_url: str | None) -> Flow:
        """POST the form; with `sync=1` its answer is the task as it stands when the provider stops waiting."""
        form: dict[str, Value] = {"url": job.media.url} if isinstance(job.media, Link) else {"file": job.media}
        if job.options["sync"]:
            form["sync"] = "1"
        if callback_url is not None:
            form["callback_url"] = callback_url
        reply = yield Request("POST", self.submit_path, Multipart(form))
        data = self.check(reply).get("data")
        try:
            snapshot = parse_task(data, reply)
        except UnexpectedAnswer:
            # a paid task that has a name is asked for again, whatever else its answer lacks
            return Snapshot(parse_task_id(data, reply), Status.QUEUED)
        if not snapshot.status.terminal:
            require_task_id(snapshot.task_id, reply)
        return snapshot

    def query(self, record: Record) -> Flow:
        """GET the task; it keeps the name it was asked by."""
        task_id = record.snapshot.task_id or ""
        reply = yield Request("GET", f"{self.query_path}/{quote(task_id, safe='')}", repeatable=True)
        return parse_task(self.check(reply).get("data"), reply, task_id)

    def problem(self, reply: Response) -> WatermarkError | None:
        """The HTTP status, then the body's own: both must be 200. A gateway's `error` may stand in its place."""
        if (error := super().problem(reply)) is not None:
            return error
        payload = reply.json()
        status = payload.get("status")
        if to_int(status) == 200 or (status is None and not payload.get("error")):
            return None
        kind: type[WatermarkError] = UnexpectedAnswer
        if status is not None:
            kind = self._kind(Response(to_int(status) or 0, reply.headers, reply.body))
        elif mentions_billing(reply.excerpt):
            kind = InsufficientCredits
        return error_from_response(kind, f"{self.display_name} refused", reply)

    def parse_callback(self, delivery: Delivery, record: Record) -> Snapshot | None:
        """The task in a callback, where it is this very job's, or the job's own id is not known yet."""
        try:
            snapshot = parse_task(parse_visual_callback(delivery.body), Response(200, {}, delivery.body))
        except (UnexpectedAnswer, ValueError):
            return None
        mine = record.snapshot.task_id
        return snapshot if snapshot.task_id is not None and mine in {None, snapshot.task_id} else None


# state < 0, from the vendor's status code page; unknown negatives fail too
FAILURE_REASONS: Mapping[int, str] = {
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
    task_id: TextLike | None = None
    state: Any = None
    progress: Any = None
    file: Any = None
    image: Any = None


def parse_visual_callback(body: bytes) -> Any:
    """The task in a callback: JSON or a form, bare or in an envelope; undocumented, so every shape is tried."""
    payload = parse_json(body)
    if payload is None:
        form = parse_qsl(body.decode(errors="replace"), max_num_fields=64)
        payload = {_NESTED.sub(r"\1", name): value for name, value in form}
    data = payload.get("data", payload) if isinstance(payload, dict) else None
    return parse_json(data.encode()) if isinstance(data, str) else data


def parse_task(data: Any, reply: Response, task_id: str | None = None) -> Snapshot:
    """What a `data` object says: 1 is success, below 0 failure, everything else pending.

    The task keeps the name `task_id` it was asked by; without one, its name is the one it tells.
    """
    task = parse(data, _Task, reply)
    task_id = task_id or task.task_id
    state = 0 if task.state is None else to_int(task.state)
    if state is None:
        raise_unexpected("the task's state is no number", reply)
    if state < 0:
        reason = FAILURE_REASONS.get(state, f"the provider gave up with state {state}")
        return Snapshot(task_id, Status.FAILED, reason=reason, details={"state": state})
    if state != 1:
        progress = to_fraction(task.progress, of=100)
        return Snapshot(task_id, Status.RUNNING if state or progress else Status.QUEUED, progress)
    result = to_link(task.file) or to_link(task.image)
    if result is None:
        raise_unexpected("the task is done and names no file", reply)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, (Output(result),))
