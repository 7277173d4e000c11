"""Dewatermark: pictures answered at once, refined in sessions; videos by signed upload; credits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from attrs import Attribute, evolve, field, frozen

from ..capabilities import Capabilities, Pictures
from ..codec import Numeric, Text, parse
from ..errors import InsufficientCredits, InvalidInput, WatermarkError
from ..jobs import Job, Output, Record, Session, Snapshot, Status
from ..media import optional_media
from ..media.base import Media
from ..media.memory import Encoded
from ..provider import Credits, Dialogue, Flow, Polling, Provider, secret
from ..wire import Multipart, Request, Response, Value
from ._dewatermark_video import query_video, submit_video

_JPEG = Pictures(frozenset({"jpeg"}), longest=6000)
_MODES = ("3.0", "2.0", "old")


def _mode(_: Any, __: Attribute[str], value: str) -> None:
    if value not in _MODES:
        msg = f"predict_mode is one of {', '.join(_MODES)}, not {value!r}"
        raise InvalidInput(msg)


@frozen
class DewatermarkOptions:
    """`remove_text` takes all text away; `predict_mode` is "3.0" or "2.0" (for emoji; "old" means the same).

    `session_id` stands for the picture in place of `media`; `mask_base` is the mask of what was erased before.
    """

    remove_text: bool = field(default=False, converter=bool)
    predict_mode: str = field(default="3.0", validator=_mode)
    session_id: str | None = None
    mask_base: Media | None = field(default=None, converter=optional_media)


@frozen
class _Edited:
    image: str
    mask: str | None = None


@frozen
class _Answer:
    edited_image: _Edited
    session_id: Text | None = None
    event_id: Text | None = None


@frozen
class _Balance:
    available_credit: Numeric


@frozen(slots=False)
class Dewatermark(Provider):
    """The Dewatermark account of `api_key`.

    `version` is that of the picture API, "v2" or "v3"; a video costs `credits_per_second`.
    Options: `remove_text`, `predict_mode`, `session_id`, `mask_base`. Source: «Image Processing API», «Video Watermark
    Removal», «Tracking Credit Balance».
    """

    name = "dewatermark"
    title = "Dewatermark"
    home = "https://platform.dewatermark.ai"
    env = {"api_key": "DEWATERMARK_API_KEY"}
    capabilities = Capabilities(pictures=_JPEG, links=False, mask="optional", videos=True, refines=True)
    Options = DewatermarkOptions

    api_key: str = secret()
    polling: Polling = field(default=Polling(first=5.0), kw_only=True)
    version: Literal["v2", "v3"] = field(default="v2", kw_only=True)
    credits_per_second: float = field(default=0.2, kw_only=True)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The key."""
        return {"X-API-KEY": self.api_key}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Dewatermark calls nobody
        """POST the picture, or refine one; a video takes the steps of its own page."""
        if job.video:
            return (yield from submit_video(self, job))
        form = Multipart(_form(job), {"original_preview_image": "image/jpeg"})
        reply = yield Request("POST", f"/api/object_removal/{self.version}/erase_watermark", form)
        answer = parse(self.check(reply), _Answer, reply)
        session = _session(job, answer)
        output = Output(Encoded(answer.edited_image.image))
        return Snapshot(answer.event_id, Status.SUCCEEDED, 1.0, (output,), session=session)

    def query(self, record: Record) -> Flow:
        """Look at a video; a picture was answered when it was submitted."""
        if not record.video:
            return (yield from super().query(record))
        return (yield from query_video(self, record, self.credits_per_second))

    def credits(self) -> Dialogue[Credits]:
        """GET the balance."""
        reply = yield Request("GET", "/api/creditInfo", repeatable=True)
        return Credits(parse(self.check(reply).get("data"), _Balance, reply).available_credit)

    def refinement(self, media: Media, session: Session, brush: Media) -> Job:
        """A job that takes more away: the first one sends the picture, later ones only the session's id."""
        return Job((media,) if session.refinements == 0 else (), brush, self.chosen({}), session)

    def limits(self, job: Job) -> Capabilities:
        """What this job may be like: a picture to refine has a longest side of at most 1920 pixels."""
        return evolve(self.capabilities, pictures=evolve(_JPEG, longest=1920)) if job.session else self.capabilities

    def _kind(self, reply: Response) -> type[WatermarkError]:
        # 403 is «no credits» in the field; a wrong key is 401
        return InsufficientCredits if reply.status == 403 else super()._kind(reply)


def _form(job: Job) -> dict[str, Value]:
    session = job.session.id if job.session else job.options["session_id"]
    if session and job.inputs and not job.session:
        msg = "give a picture or session_id, not both: the session stands for its picture"
        raise InvalidInput(msg)
    form: dict[str, Value] = {"original_preview_image": job.media} if job.inputs else {"session_id": session or ""}
    base = job.session.mask if job.session else job.options["mask_base"]
    form |= {name: mask for name, mask in (("mask_base", base), ("mask_brush", job.mask)) if mask is not None}
    return form | {"remove_text": str(job.options["remove_text"]).lower(), "predict_mode": job.options["predict_mode"]}


def _session(job: Job, answer: _Answer) -> Session | None:
    if answer.session_id is None:
        return None
    mask = Encoded(answer.edited_image.mask, name="mask.png") if answer.edited_image.mask else None
    return Session(answer.session_id, mask, job.session.refinements + 1 if job.session else 0)
