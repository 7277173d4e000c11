"""The dialect gpt.ge and PicWish share: a form in, one `data` object out, at submit and at every look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote

from attrs import field, frozen

from ..codec import Numeric, Text, parse
from ..errors import WatermarkError
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.memory import Link
from ..provider import Flow, Provider, refusal, unexpected
from ..wire import Delivery, Multipart, Request, Response, Value, parsed

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


@frozen
class SyncOptions:
    """`sync=True`: the provider answers the submit with the result, where it is quick enough."""

    sync: bool = field(default=False, converter=bool)


@frozen
class _Task:
    task_id: Text | None = None
    state: Numeric | None = None
    progress: Numeric | None = None
    file: str | None = None
    image: str | None = None
    state_detail: str | None = None


@frozen(kw_only=True, slots=False)
class VisualProvider(Provider):
    """The dialogue of both; subclasses give paths and headers."""

    submit_path: ClassVar[str]
    query_path: ClassVar[str]
    Options = SyncOptions

    def submit(self, job: Job, callback_url: str | None) -> Flow:
        """POST the form; with `sync=1` its answer is the finished task."""
        form: dict[str, Value] = {"url": job.media.url} if isinstance(job.media, Link) else {"file": job.media}
        if job.options["sync"]:
            form["sync"] = "1"
        if callback_url is not None:
            form["callback_url"] = callback_url
        reply = yield Request("POST", self.submit_path, Multipart(form))
        snapshot = snapshot_of(self.check(reply).get("data"), reply)
        if snapshot.task_id is None and not snapshot.status.terminal:
            unexpected("the answer names no task", reply)
        return snapshot

    def query(self, record: Record) -> Flow:
        """GET the task."""
        task_id = record.snapshot.task_id or ""
        reply = yield Request("GET", f"{self.query_path}/{quote(task_id, safe='')}", repeatable=True)
        return snapshot_of(self.check(reply).get("data"), reply)

    def problem(self, reply: Response) -> WatermarkError | None:
        """The HTTP status, then the body's own: both must be 200."""
        if (error := super().problem(reply)) is not None:
            return error
        status = reply.json().get("status", 200)
        if status in {200, "200"}:
            return None
        code = int(status) if str(status).isdecimal() else 0
        inner = Response(code, reply.headers, reply.body)
        return super().problem(inner) or refusal(self._kind(inner), f"{self.title} refused", reply)

    def delivered(self, delivery: Delivery, record: Record) -> Snapshot | None:
        """The payload of a callback: the envelope, the bare data object, or a form of either; undocumented."""
        payload = parsed(delivery.body)
        if payload is None:
            payload = dict(parse_qsl(delivery.body.decode(errors="replace"), max_num_fields=64))
        if isinstance(payload, dict):
            data = payload.get("data", payload)
            data = parsed(data.encode()) if isinstance(data, str) else data
            snapshot = snapshot_of(data, Response(200, {}, delivery.body))
            return snapshot if snapshot.task_id == record.snapshot.task_id else None
        return None


def snapshot_of(data: Any, reply: Response) -> Snapshot:
    """What a `data` object says: 1 is success, below 0 failure, everything else pending."""
    task = parse(data, _Task, reply)
    state = int(task.state) if task.state is not None else 0
    if state < 0:
        reason = REASONS.get(state, f"the provider gave up with state {state}")
        return Snapshot(task.task_id, Status.FAILED, reason=reason, details={"state": state})
    if state != 1:
        progress = min(task.progress / 100, 1.0) if task.progress is not None else None
        return Snapshot(task.task_id, Status.RUNNING if task.progress else Status.QUEUED, progress)
    link = task.file or task.image
    if not link:
        unexpected("the task is done and names no file", reply)
    return Snapshot(task.task_id, Status.SUCCEEDED, 1.0, (Output(Link(link)),))
