"""The dialect gpt.ge and PicWish share: a form in, one `data` object out, at submit and at every look."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from attrs import field, frozen

from ..errors import InsufficientCredits, UnexpectedAnswer, WatermarkError
from ..http_errors import about_money, refusal
from ..jobs import Job, Record, Snapshot, Status
from ..media.memory import Link
from ..provider import Flow, Provider
from ..wire import Delivery, Multipart, Request, Response, Value
from ._parsing import named, switch, ticket, whole
from ._visual_task import delivered, snapshot_of


@frozen
class SyncOptions:
    """`sync=True`: the provider answers the submit with the result, where it is quick enough."""

    sync: bool = field(default=False, converter=switch)


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
            snapshot = snapshot_of(data, reply)
        except UnexpectedAnswer:
            # a paid task that has a name is asked for again, whatever else its answer lacks
            return Snapshot(ticket(data, reply), Status.QUEUED)
        if not snapshot.status.terminal:
            named(snapshot.task_id, reply)
        return snapshot

    def query(self, record: Record) -> Flow:
        """GET the task; it keeps the name it was asked by."""
        task_id = record.snapshot.task_id or ""
        reply = yield Request("GET", f"{self.query_path}/{quote(task_id, safe='')}", repeatable=True)
        return snapshot_of(self.check(reply).get("data"), reply, task_id)

    def problem(self, reply: Response) -> WatermarkError | None:
        """The HTTP status, then the body's own: both must be 200. A gateway's `error` may stand in its place."""
        if (error := super().problem(reply)) is not None:
            return error
        payload = reply.json()
        status = payload.get("status")
        if whole(status) == 200 or (status is None and not payload.get("error")):
            return None
        kind: type[WatermarkError] = UnexpectedAnswer
        if status is not None:
            kind = self._kind(Response(whole(status) or 0, reply.headers, reply.body))
        elif about_money(reply.excerpt):
            kind = InsufficientCredits
        return refusal(kind, f"{self.title} refused", reply)

    def delivered(self, delivery: Delivery, record: Record) -> Snapshot | None:
        """The task in a callback, where it is this very job's, or the job's own id is not known yet."""
        try:
            snapshot = snapshot_of(delivered(delivery.body), Response(200, {}, delivery.body))
        except (UnexpectedAnswer, ValueError):
            return None
        mine = record.snapshot.task_id
        return snapshot if snapshot.task_id is not None and mine in {None, snapshot.task_id} else None
