"""Dewatermark's pictures: the form of a call, and what its answer holds for the next one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Attribute, field, frozen

from ..codec import TextLike, parse
from ..errors import InvalidInput
from ..http_errors import raise_unexpected
from ..jobs import Job, Output, Session, Snapshot, Status
from ..media import optional_media
from ..media.base import Media
from ..media.memory import Base64Text
from ..wire import Multipart, Response, Value
from ._parsing import first_text, to_bool

_MODES = ("3.0", "2.0", "old")
_TYPES: Mapping[str, str] = {"original_preview_image": "image/jpeg"}


def _validate_mode(_: Any, __: Attribute[str], value: Any) -> None:
    if value not in _MODES:
        raise InvalidInput(f"predict_mode is one of {', '.join(_MODES)}, not {value!r}")


def _validate_session_id(_: Any, __: Attribute[str | None], value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise InvalidInput("session_id is the text an earlier answer gave")


@frozen
class DewatermarkOptions:
    """`remove_text` takes all text away; `predict_mode` is "3.0" or "2.0" (for emoji; "old" means the same).

    `session_id` stands for the picture in place of `media`; `mask_base` is the mask of what was erased before.
    """

    remove_text: bool = field(default=False, converter=to_bool)
    predict_mode: str = field(default="3.0", validator=_validate_mode)
    session_id: str | None = field(default=None, validator=_validate_session_id, repr=False)
    mask_base: Media | None = field(default=None, converter=optional_media)


@frozen
class _Edited:
    image: str
    mask: Any = None
    watermark_mask: Any = None


@frozen
class _Answer:
    edited_image: _Edited
    session_id: TextLike | None = None
    event_id: TextLike | None = None


def build_form(job: Job) -> Multipart:
    """The picture or the session in its place, the masks, the options; raises InvalidInput for both or neither."""
    session_id, base = job.options["session_id"], job.options["mask_base"]
    if job.session is not None:
        if session_id or base is not None:
            raise InvalidInput("a refinement's result holds its session_id and mask_base: leave these options out")
        session_id, base = job.session.id, job.session.mask
    elif bool(session_id) == bool(job.inputs):
        raise InvalidInput("give a picture or session_id, one of the two: the session stands for its picture")
    fields: dict[str, Value] = {"original_preview_image": job.media} if job.inputs else {"session_id": session_id}
    fields |= {name: mask for name, mask in (("mask_base", base), ("mask_brush", job.mask)) if mask is not None}
    fields |= {"remove_text": str(job.options["remove_text"]).lower(), "predict_mode": job.options["predict_mode"]}
    return Multipart(fields, _TYPES)


def parse_result(job: Job, payload: Any, reply: Response) -> Snapshot:
    """The picture, and the session to refine it in: its next `mask_base` is the answer's `mask`."""
    answer = parse(payload, _Answer, reply)
    picture = _base64_image(answer.edited_image.image, "picture.jpg")
    if picture is None:
        raise_unexpected("the answer holds no picture", reply)
    session = None
    if answer.session_id:
        mask = first_text(answer.edited_image.mask, answer.edited_image.watermark_mask)
        refinements = job.session.refinements + 1 if job.session else 0
        session = Session(answer.session_id, _base64_image(mask or "", "mask.png"), refinements)
    return Snapshot(answer.event_id, Status.SUCCEEDED, 1.0, (Output(picture),), session=session)


def _base64_image(text: str, name: str) -> Base64Text | None:
    """Base64 as it may come: a `data:` header, line breaks and missing padding are no reason to lose what was paid."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if any(space in text for space in " \r\n"):
        text = "".join(text.split())
    return Base64Text(text + "=" * (-len(text) % 4), name=name) if text else None
