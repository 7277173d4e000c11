"""Dewatermark: pictures answered at once, refined in sessions; videos by signed upload; credits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import Attribute, evolve, field, frozen

from ..capabilities import Capabilities, ImageLimits, VideoLimits
from ..codec import NumberLike, parse
from ..errors import InsufficientCredits, InvalidInput, WatermarkError
from ..jobs import Job, Record, Session
from ..media.base import Media
from ..provider import Credits, Exchange, Flow, Polling, Provider, api_key_field
from ..wire import Request, Response
from ._dewatermark_images import DewatermarkOptions, build_form, parse_result
from ._dewatermark_video import query_video, submit_video

_JPEG = ImageLimits(frozenset({"jpeg"}), max_side=6000)
# «Video Requirements» of the newer documents
_MP4 = VideoLimits("mp4", fps=24, seconds=540)


def _validate_version(_: Any, __: Attribute[Any], value: Any) -> None:
    if value not in {"v2", "v3"}:
        raise InvalidInput(f"version is v2 or v3, not {value!r}")


@frozen
class _Balance:
    available_credit: NumberLike


@frozen(slots=False)
class Dewatermark(Provider):
    """The Dewatermark account of `api_key`.

    `version` is that of the picture API, "v2" or "v3"; a video costs `credits_per_second`.
    Options: `remove_text`, `predict_mode`, `session_id`, `mask_base`. Source: «Image Processing API», «Video Watermark
    Removal», «Tracking Credit Balance».
    """

    name = "dewatermark"
    display_name = "Dewatermark"
    default_base_url = "https://platform.dewatermark.ai"
    env = {"api_key": "DEWATERMARK_API_KEY"}
    capabilities = Capabilities(
        images=_JPEG, links=False, mask="optional", videos=True, video_limits=_MP4, refines=True
    )
    Options = DewatermarkOptions

    api_key: str = api_key_field()
    polling: Polling = field(default=Polling(first=5.0), kw_only=True)
    version: Literal["v2", "v3"] = field(default="v2", validator=_validate_version, kw_only=True)
    credits_per_second: float = field(default=0.2, kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """The key."""
        return {"X-API-KEY": self.api_key}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Dewatermark calls nobody
        """POST the picture, or refine one; a video takes the steps of its own page."""
        if job.video:
            return (yield from submit_video(self, job))
        reply = yield Request("POST", f"/api/object_removal/{self.version}/erase_watermark", build_form(job))
        return parse_result(job, self.check(reply), reply)

    def query(self, record: Record) -> Flow:
        """Look at a video; a picture was answered when it was submitted."""
        if not record.video:
            return (yield from super().query(record))
        return (yield from query_video(self, record, self.credits_per_second))

    def credits(self) -> Exchange[Credits]:
        """GET the balance."""
        reply = yield Request("GET", "/api/creditInfo", repeatable=True)
        return Credits(parse(self.check(reply).get("data"), _Balance, reply).available_credit)

    def refinement(self, media: Media, session: Session, brush: Media, options: Mapping[str, Any]) -> Job:
        """A job that takes more away: the first one sends the picture, later ones only the session's id."""
        return Job((media,) if session.refinements == 0 else (), brush, self.resolve_options(options), session)

    def capabilities_for(self, job: Job) -> Capabilities:
        """What this job may be like: a picture to refine has a longest side of at most 1920 pixels."""
        takes = evolve(self.capabilities, needs_media=not (job.session or job.options["session_id"]))
        return evolve(takes, images=evolve(_JPEG, max_side=1920)) if job.session else takes

    def _kind(self, reply: Response) -> type[WatermarkError]:
        # 403 is «no credits» in the field; a wrong key is 401
        return InsufficientCredits if reply.status == 403 else super()._kind(reply)
