"""Photo Eraser: up to 20 linked pictures a job, one mask for all of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import quote

from attrs import Attribute, field, frozen

from ..capabilities import Capabilities, Pictures
from ..codec import Numeric, Text, parse
from ..errors import InsufficientCredits, InvalidInput, JobFailed, ProviderUnavailable, Rejected, WatermarkError
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.base import redacted
from ..media.memory import Link
from ..provider import Flow, Polling, Provider, refusal, secret
from ..wire import Base64, Json, Request, Response

_FAILURES: Mapping[int, str] = {4: "the task failed", 5: "the task was closed", 6: "the task timed out"}


def _priority(_: Any, __: Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in range(10):
        msg = f"priority is a whole number from 0 to 9, not {value!r}"
        raise InvalidInput(msg)


@frozen
class PhotoEraserOptions:
    """`priority`: 0 to 9."""

    priority: int = field(default=1, validator=_priority)


@frozen
class _Ticket:
    task_id: Text


@frozen
class _Item:
    image_result: str | None = None
    status: Numeric | None = None
    reason: Text | None = None
    image_url: str | None = None

    def output(self) -> Output:
        if self.image_result and int(self.status or 3) not in _FAILURES:
            return Output(Link(self.image_result))
        return Output(error=JobFailed(f"this picture failed: {self.reason or 'no reason given'}"))


@frozen
class _Task:
    status: Numeric
    wait_time: Numeric | None = None
    list: tuple[_Item, ...] | None = None


@frozen(slots=False)
class PhotoEraser(Provider):
    """The Wondershare AILab account of `app_key` and `app_secret`. Options: `priority`.

    `base_url=PhotoEraser.CHINA` is the host for China. Source: «Photo Eraser-API Integration».
    """

    CHINA: ClassVar[str] = "https://wsai-api.wondershare.cn"
    name = "photoeraser"
    title = "Photo Eraser"
    home = "https://wsai-api.wondershare.com"
    env = {"app_key": "PHOTOERASER_APP_KEY", "app_secret": "PHOTOERASER_APP_SECRET"}
    # «Input File Restriction»: greater than 256x256, less than 5000x5000
    capabilities = Capabilities(
        pictures=Pictures(
            frozenset({"png", "jpeg", "bmp"}), shortest=257, longest=4999, aspect=4.0, max_bytes=50_000_000
        ),
        files=False,
        batch=20,
        mask="required",
        mask_links=True,
    )
    Options = PhotoEraserOptions

    app_key: str = secret()
    app_secret: str = secret()
    polling: Polling = field(default=Polling(first=3.0), kw_only=True)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """Basic credentials; the document wants a Content-Type on queries too."""
        basic = b64encode(f"{self.app_key}:{self.app_secret}".encode()).decode()
        return {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Photo Eraser calls nobody
        """POST the links, the mask and the priority."""
        mask = job.mask.url if isinstance(job.mask, Link) else job.mask and Base64(job.mask)
        images = [media.url for media in job.inputs if isinstance(media, Link)]
        body = Json({"images": images, "mask": mask, "priority": job.options["priority"]})
        reply = yield Request("POST", "/v3/pic/rw/batch", body)
        ticket = parse(self.check(reply).get("data"), _Ticket, reply)
        return Snapshot(ticket.task_id, Status.QUEUED)

    def query(self, record: Record) -> Flow:
        """GET the task; a pending one says how long to wait."""
        task_id = record.snapshot.task_id or ""
        reply = yield Request("GET", f"/v3/pic/rw/result/{quote(task_id, safe='')}", repeatable=True)
        task = parse(self.check(reply).get("data"), _Task, reply)
        if (status := int(task.status)) in _FAILURES:
            return Snapshot(task_id, Status.FAILED, reason=_FAILURES[status])
        if status != 3:
            return Snapshot(task_id, Status.RUNNING if status == 2 else Status.QUEUED, retry_after=task.wait_time)
        return _finished(task_id, task.list or (), record.inputs)

    def problem(self, reply: Response) -> WatermarkError | None:
        """`code` must be 0; 490027 is «insufficient balance»; the others are not documented."""
        if (error := super().problem(reply)) is not None:
            return error
        code = reply.json().get("code", 0)
        if code in {0, "0"}:
            return None
        kind: type[WatermarkError] = InsufficientCredits if str(code) == "490027" else Rejected
        kind = ProviderUnavailable if str(code).startswith("5") else kind
        return refusal(kind, f"{self.title} refused with code {code}", reply)


def _finished(task_id: str, items: tuple[_Item, ...], inputs: tuple[str, ...]) -> Snapshot:
    outputs = _aligned(items, inputs)
    status = Status.SUCCEEDED if any(output.media for output in outputs) else Status.FAILED
    reason = str(outputs[0].error) if status is Status.FAILED and outputs else None
    return Snapshot(task_id, status, 1.0, outputs, reason)


def _aligned(items: tuple[_Item, ...], inputs: tuple[str, ...]) -> tuple[Output, ...]:
    """One output per input: by the echoed link where there is one, else by order."""
    if not inputs:
        return tuple(item.output() for item in items)
    waiting = list(items)
    if waiting and all(item.image_url for item in waiting):
        return tuple(_taken(waiting, identity).output() for identity in inputs)
    if len(items) == len(inputs):
        return tuple(item.output() for item in items)
    links = ", ".join(redacted(item.image_result) for item in items if item.image_result)
    error = JobFailed(
        f"the provider gave {len(items)} results for {len(inputs)} pictures and not whose they are: {links}"
    )
    return tuple(Output(error=error) for _ in inputs)


def _taken(waiting: list[_Item], identity: str) -> _Item:
    for item in waiting:
        if item.image_url and Link(item.image_url).identity == identity:
            waiting.remove(item)
            return item
    return _Item(reason=Text("the provider gave no result for it"))
