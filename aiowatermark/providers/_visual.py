"""API shared by gpt.ge and PicWish: submissions are forms, and every answer has one `data` object, the task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote

from attrs import field, frozen

from ..codec import parse
from ..errors import InsufficientCredits, UnexpectedAnswer, WatermarkError
from ..http_errors import mentions_billing, raise_unexpected, refusal
from ..introspection import documented
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.memory import Link
from ..provider import Flow, Provider
from ..wire import Delivery, FieldValue, Multipart, Request, Response, parse_form_data, parse_json
from ._parsing import content_types, parse_task_id, require_task_id, to_bool, to_fraction, to_int, to_link, to_task_id

# `state` below 0, from the vendor's status code page; other negative states are failures too
FAILURE_REASONS: Mapping[int, str] = {
    -1: "the task failed",
    -2: "the result could not be stored",
    -3: "the provider could not download the URL",
    -5: "the image is too large",
    -7: "the image file is invalid",
    -8: "the task timed out at the provider",
    -9: "the provider has an internal error",
    -10: "the content was refused",
    -11: "the result is empty",
    -13: "the task was cancelled",
    -14: "the input was refused",
    -15: "the provider has no resources left",
    -16: "the content was refused",
}
# fields of a form may be named data[task_id]
_NESTED_FIELD = re.compile(r"data\[(\w+)\]")
_MAX_FIELDS = 64


@frozen
class SyncOptions:
    """Options: `sync=True` asks the provider to answer the submission with the result if that is quick enough."""

    sync: bool = field(default=False, converter=to_bool)


@documented
@frozen(kw_only=True, slots=False)
class VisualProvider(Provider):
    """The flows of both vendors; subclasses set paths and headers."""

    submit_path: ClassVar[str]
    query_path: ClassVar[str]
    Options = SyncOptions

    def submit(self, job: Job, callback_url: str | None) -> Flow:
        """POST the form. With `sync=1` the answer is the task as it is when the provider stops waiting for it."""
        form: dict[str, FieldValue] = {"url": job.media.url} if isinstance(job.media, Link) else {"file": job.media}
        if job.options["sync"]:
            form["sync"] = "1"
        if callback_url is not None:
            form["callback_url"] = callback_url
        reply = yield Request("POST", self.submit_path, Multipart(form, content_types(form)))
        data = self.check(reply).get("data")
        try:
            snapshot = parse_task(data, reply)
        except UnexpectedAnswer:
            # the task was paid: if the answer has at least its id, query it instead of leaving the job in doubt
            return Snapshot(parse_task_id(data, reply), Status.QUEUED)
        if not snapshot.status.terminal:
            require_task_id(snapshot.task_id, reply)
        return snapshot

    def query(self, record: Record) -> Flow:
        """GET the task."""
        task_id = record.snapshot.task_id or ""
        reply = yield Request("GET", f"{self.query_path}/{quote(task_id, safe='')}", repeatable=True)
        return parse_task(self.check(reply).get("data"), reply, task_id)

    def problem(self, reply: Response) -> WatermarkError | None:
        """Return the error by the HTTP status and the body's own `status`: both must be 200."""
        if (error := super().problem(reply)) is not None:
            return error
        payload = reply.json()
        status = payload.get("status")
        # errors of gpt.ge's gateway have `error` and no `status`
        if to_int(status) == 200 or (status is None and not payload.get("error")):
            return None
        error_class: type[WatermarkError] = UnexpectedAnswer
        if status is not None:
            error_class = self._kind(Response(to_int(status) or 0, reply.headers, reply.body))
        elif mentions_billing(reply.excerpt):
            error_class = InsufficientCredits
        error = refusal(error_class, self.display_name, reply, to_int(status))
        error.status = to_int(status) or reply.status
        return error

    def parse_callback(self, delivery: Delivery, record: Record) -> Snapshot | None:
        """Return the task in a callback if it is this job's task, or if this job's task id is not known yet."""
        try:
            snapshot = parse_task(parse_visual_callback(delivery.body), Response(200, {}, delivery.body))
        except (UnexpectedAnswer, ValueError):
            return None
        known_id = record.snapshot.task_id
        return snapshot if snapshot.task_id is not None and known_id in {None, snapshot.task_id} else None


@frozen
class _Task:
    task_id: Any = None
    state: Any = None
    progress: Any = None
    file: Any = None
    image: Any = None


def parse_visual_callback(body: bytes) -> Any:
    """Return the task in a callback: JSON or a form of either kind, with or without the envelope of an answer.

    Neither vendor documents the format of callbacks, so every plausible one is accepted.
    """
    payload = parse_json(body)
    if payload is None:
        fields = parse_form_data(body) if body.startswith(b"--") else _parse_query(body)
        payload = {_NESTED_FIELD.sub(r"\1", name): value for name, value in fields}
    data = payload.get("data", payload) if isinstance(payload, dict) else None
    return parse_json(data.encode()) if isinstance(data, str) else data


def _parse_query(body: bytes) -> list[tuple[str, str]]:
    # max_num_fields: parse_qsl raises ValueError for more, so a hostile body costs little
    return parse_qsl(body.decode(errors="replace"), max_num_fields=_MAX_FIELDS)


def parse_task(data: Any, reply: Response, task_id: str | None = None) -> Snapshot:
    """Return the state in a `data` object: 1 is success, below 0 failure, anything else pending.

    `task_id` is the id that was queried. It is kept, because a reseller's answer may contain another id of its own.
    """
    task = parse(data, _Task, reply)
    task_id = task_id or to_task_id(task.task_id)
    state = 0 if task.state is None else to_int(task.state)
    if state is None:
        raise_unexpected("the task's state is not a number", reply)
    if state < 0:
        reason = FAILURE_REASONS.get(state, f"the task failed with state {state}")
        return Snapshot(task_id, Status.FAILED, reason=reason, details={"state": state})
    if state != 1:
        progress = to_fraction(task.progress, of=100)
        return Snapshot(task_id, Status.RUNNING if state or progress else Status.QUEUED, progress)
    # `file` is documented; sibling calls of the vendor answer with `image`
    result = to_link(task.file) or to_link(task.image)
    if result is None:
        raise_unexpected("the task is done and has no file", reply)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, (Output(result),))
