"""Dewatermark's image calls: the form to send, and the result and session in the answer."""

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
from ..wire import FieldValue, Multipart, Response
from ._parsing import content_types, first_text, to_bool

_MODES = ("3.0", "2.0", "old")
# the API accepts only JPEG, and a file name may have another suffix
_TYPES: Mapping[str, str] = {"original_preview_image": "image/jpeg"}


def _validate_mode(_: Any, __: Attribute[str], value: Any) -> None:
    if value not in _MODES:
        raise InvalidInput(f"predict_mode must be one of {', '.join(_MODES)}, not {value!r}")


def _validate_session_id(_: Any, __: Attribute[str | None], value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise InvalidInput("session_id must be the text from an earlier answer")


@frozen
class DewatermarkOptions:
    """Options of image jobs.

    `remove_text=True` removes all text. `predict_mode` is "3.0", or "2.0" (also called "old") for emoji. `session_id`,
    from an earlier answer, is sent in place of the image; `mask_base` is the mask of everything removed before.
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
    """Return the form with the image or session id, the masks and the options.

    Raises InvalidInput if the job has both an image and a session id, or neither.
    """
    session_id, mask_base = job.options["session_id"], job.options["mask_base"]
    if job.session is not None:
        if session_id or mask_base is not None:
            raise InvalidInput("a refinement takes session_id and mask_base from its result: omit these options")
        session_id, mask_base = job.session.id, job.session.mask
    elif bool(session_id) == bool(job.inputs):
        raise InvalidInput("pass either an image or session_id, not both: the session replaces its image")
    fields: dict[str, FieldValue] = {"original_preview_image": job.media} if job.inputs else {"session_id": session_id}
    fields |= {name: mask for name, mask in (("mask_base", mask_base), ("mask_brush", job.mask)) if mask is not None}
    fields |= {"remove_text": str(job.options["remove_text"]).lower(), "predict_mode": job.options["predict_mode"]}
    return Multipart(fields, {**content_types(fields), **_TYPES})


def parse_result(job: Job, payload: Any, reply: Response) -> Snapshot:
    """Return the image and the session to refine it in; the answer's `mask` is the session's next `mask_base`."""
    answer = parse(payload, _Answer, reply)
    image = _base64_image(answer.edited_image.image, "picture.jpg")
    if image is None:
        raise_unexpected("the answer has no image", reply)
    session = None
    if answer.session_id:
        mask = first_text(answer.edited_image.mask, answer.edited_image.watermark_mask)
        refinements = job.session.refinements + 1 if job.session else 0
        session = Session(answer.session_id, _base64_image(mask or "", "mask.png"), refinements)
    return Snapshot(answer.event_id, Status.SUCCEEDED, 1.0, (Output(image),), session=session)


def _base64_image(text: str, name: str) -> Base64Text | None:
    """Return base64 text as media, None if it is empty.

    A `data:` prefix, line breaks and missing padding are repaired, because the result was paid for.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if any(space in text for space in " \r\n"):
        text = "".join(text.split())
    return Base64Text(text + "=" * (-len(text) % 4), name=name) if text else None
