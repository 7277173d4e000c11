"""API shared by gpt.ge and PicWish: submissions are forms, and every answer has one `data` object, the task.

A vendor has several calls that remove a watermark: without a mask, with one, and a slower one that removes better. They
differ in their path, in the names of their fields, and in the path below which their tasks are queried. What they have
is a table (`Call`), and the record of a job keeps where it is queried (`Record.route`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from attrs import Factory, evolve, field, frozen

from ..capabilities import Capabilities
from ..errors import InsufficientCredits, UnexpectedAnswer, Unsupported, WatermarkError
from ..http_errors import mentions_billing, raise_unexpected, refusal
from ..introspection import documented
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.base import Media
from ..media.masks.boxes import Boxes
from ..media.memory import Link
from ..provider import Flow, Provider
from ..wire import Delivery, FieldValue, Multipart, Request, Response
from ._parsing import (
    content_types,
    parse_task_id,
    require_task_id,
    to_bool,
    to_charge,
    to_fraction,
    to_int,
    to_link,
    to_task_id,
)
from ._visual_callbacks import parse_visual_callback

# `state` below 0, from the vendor's status code page, and whether the same picture may succeed later; None: not told.
# Other negative states are failures too.
FAILURES: Mapping[int, tuple[str, bool | None]] = {
    -1: ("the task failed", None),
    -2: ("the result could not be stored", True),
    -3: ("the provider could not download the URL", None),
    -5: ("the image is too large", False),
    -7: ("the image file is invalid", False),
    -8: ("the task timed out at the provider", True),
    -9: ("the provider has an internal error", True),
    -10: ("the content was refused", False),
    -11: ("the result is empty", None),
    -13: ("the task was cancelled", None),
    -14: ("the input was refused", False),
    -15: ("the provider has no resources left", True),
    -16: ("the content was refused", False),
}


@frozen
class Call:
    """A call that removes a watermark.

    `query_path`: the path below which its tasks are queried; the default is its own. `image`: what the names of the
    fields of the image begin with. `callbacks`: whether it takes a `callback_url`.
    """

    path: str
    query_path: str = field(default=Factory(lambda self: self.path, takes_self=True))
    image: str = ""
    callbacks: bool = False


@frozen
class SyncOptions:
    """Options: `sync=True` asks the provider to answer the submission with the result if that is quick enough."""

    sync: bool = field(default=False, converter=to_bool)


@documented
@frozen(kw_only=True, slots=False)
class VisualProvider(Provider):
    """The flows of both vendors; subclasses set calls and headers."""

    automatic: ClassVar[Call]
    masked: ClassVar[Call]
    further_calls: ClassVar[tuple[Call, ...]] = ()
    price_field: ClassVar[str | None] = None
    """The field of a task with its price in the vendor's credits; None if it has none."""
    Options = SyncOptions

    def call_for(self, job: Job) -> Call:
        """Return the call for a job."""
        return self.automatic if job.mask is None else self.masked

    def route(self, job: Job) -> str | None:
        """Return the path below which the job is queried, if it is not the usual one."""
        path = self.call_for(job).query_path
        return None if path == self.automatic.query_path else path

    def capabilities_for(self, job: Job) -> Capabilities:
        """Return the capabilities of the job's call."""
        callbacks = self.call_for(job).callbacks
        return self.capabilities if callbacks else evolve(self.capabilities, callbacks=False)

    def submit(self, job: Job, callback_url: str | None) -> Flow:
        """POST the form. With `sync=1` the answer is the task as it is when the provider stops waiting for it."""
        call = self.call_for(job)
        form = {**_media_field(call.image, job.media), **_mask_field(job.mask)}
        if job.options["sync"]:
            form["sync"] = "1"
        if callback_url is not None and call.callbacks:
            form["callback_url"] = callback_url
        reply = yield Request("POST", call.path, Multipart(form, content_types(form)))
        data = self.check(reply).get("data")
        try:
            snapshot = self.parse_task(data, reply)
        except UnexpectedAnswer:
            # the task was paid: if the answer has at least its id, query it instead of leaving the job in doubt
            return Snapshot(parse_task_id(data, reply), Status.QUEUED)
        if not snapshot.status.terminal:
            require_task_id(snapshot.task_id, reply)
        return snapshot

    def query(self, record: Record) -> Flow:
        """GET the task, below the path of the call that made it."""
        task_id = record.snapshot.task_id or ""
        path = self._query_path(record.route)
        reply = yield Request("GET", f"{path}/{quote(task_id, safe='')}", repeatable=True)
        return self.parse_task(self.check(reply).get("data"), reply, task_id)

    def _query_path(self, route: str | None) -> str:
        """Return the path of a route; raises Unsupported for one that is not ours: the key is never sent to it."""
        if route is None:
            return self.automatic.query_path
        if route not in {call.query_path for call in (self.automatic, self.masked, *self.further_calls)}:
            raise Unsupported(f"{self.display_name} has no path {route!r}: the job was made by another version")
        return route

    def problem(self, reply: Response) -> WatermarkError | None:
        """Return the error by the HTTP status and the body's own `status`: both must be 200."""
        if (error := super().problem(reply)) is not None:
            return error
        payload = reply.json()
        status = payload.get("status")
        # errors of gpt.ge's gateway have `error` and no `status`
        if status == 200 or to_int(status) == 200 or (status is None and not payload.get("error")):
            return None
        error_class: type[WatermarkError] = UnexpectedAnswer
        if status is not None:
            error_class = self._kind(Response(to_int(status) or 0, reply.headers, reply.body))
        elif mentions_billing(reply.excerpt):
            error_class = InsufficientCredits
        error = refusal(error_class, self.display_name, reply, to_int(status))
        error.status = to_int(status) or reply.status
        return error

    def parse_task(self, data: Any, reply: Response, task_id: str | None = None) -> Snapshot:
        """Return the state in a `data` object; `task_id` is the id that was queried."""
        return parse_task(data, reply, task_id, self.price_field)

    def parse_callback(self, delivery: Delivery, record: Record) -> Snapshot | None:
        """Return the task in a callback if it is this job's task, or if this job's task id is not known yet."""
        try:
            snapshot = self.parse_task(parse_visual_callback(delivery.body), Response(200, {}, delivery.body))
        except (UnexpectedAnswer, ValueError):
            return None
        known_id = record.snapshot.task_id
        return snapshot if snapshot.task_id is not None and known_id in {None, snapshot.task_id} else None


def _media_field(name: str, media: Media) -> dict[str, FieldValue]:
    """Return the field of a URL or a file; `name` is what its name begins with, before `url` or `file`."""
    prefix = f"{name}_" if name else ""
    return {f"{prefix}url": media.url} if isinstance(media, Link) else {f"{prefix}file": media}


def _mask_field(mask: Media | None) -> dict[str, FieldValue]:
    if mask is None:
        return {}
    return {"rectangles": mask.rectangles} if isinstance(mask, Boxes) else _media_field("mask", mask)


def parse_task(data: Any, reply: Response, task_id: str | None = None, price_field: str | None = None) -> Snapshot:
    """Return the state in a `data` object: 1 is success, below 0 failure, anything else pending.

    `task_id` is the id that was queried. It is kept, because a reseller's answer may contain another id of its own.
    """
    if not isinstance(data, dict):
        raise_unexpected(f"the answer is not as documented: {type(data).__name__} is not an object", reply)
    task_id = task_id or to_task_id(data.get("task_id"))
    state = to_int(data.get("state")) if data.get("state") is not None else 0
    if state is None:
        raise_unexpected("the task's state is not a number", reply)
    if 0 <= state != 1:
        progress = to_fraction(data.get("progress"), of=100)
        return Snapshot(task_id, Status.RUNNING if state or progress else Status.QUEUED, progress)
    # while a task runs, its price may not be final
    charged = to_charge(data.get(price_field)) if price_field else None
    if state < 0:
        reason, retryable = FAILURES.get(state, (f"the task failed with state {state}", None))
        details = {"state": state} if retryable is None else {"state": state, "retryable": retryable}
        return Snapshot(task_id, Status.FAILED, reason=reason, details=details, charged=charged)
    # `file` is documented for the automatic call; field reports name the others for its siblings
    result = to_link(data.get("file")) or to_link(data.get("image")) or to_link(data.get("image_url"))
    if result is None:
        raise_unexpected("the task is done and has no file", reply)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, (Output(result),), charged=charged)
