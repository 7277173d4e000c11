"""Dewatermark's image calls: the form to send, and the result and session in the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import Attribute, field, frozen

from ..codec import parse
from ..errors import InvalidInput
from ..http_errors import raise_unexpected
from ..jobs import Job, Output, Session, Snapshot, Status
from ..media import optional_media
from ..media.base import Media
from ..media.memory import Base64Text, Bytes
from ..wire import FieldValue, LongText, Multipart, Response
from ._parsing import content_types, to_bool, to_task_id

_MODES = ("3.0", "2.0", "old")
MAX_ANSWER = 160 << 20
"""Bytes of the largest answer: an image of 6000 x 6000 pixels without compression, as base64, and its masks."""
_DATA_URL = re.compile(r"\s*data:[^,]{0,200},", re.IGNORECASE)
_STANDARD_ALPHABET = str.maketrans("-_", "+/")
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
    image: Any
    mask: Any = None
    watermark_mask: Any = None


@frozen
class _Answer:
    edited_image: _Edited
    session_id: Any = None
    event_id: Any = None


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
    session, session_id = None, to_task_id(answer.session_id)
    if session_id:
        masks = (
            _base64_image(each, "mask.png") for each in (answer.edited_image.mask, answer.edited_image.watermark_mask)
        )
        refinements = job.session.refinements + 1 if job.session else 0
        session = Session(session_id, next(filter(None, masks), None), refinements)
    return Snapshot(to_task_id(answer.event_id), Status.SUCCEEDED, 1.0, (Output(image),), session=session)


def _base64_image(value: Any, name: str) -> Media | None:
    """Return the image in an answer; None if there is none.

    A `data:` prefix, the url-safe alphabet, white space and missing padding are repaired: the result was paid for.
    """
    if isinstance(value, LongText):
        # a text that cannot be decoded is still a result that was paid for: reading it raises TransferFailed
        return Base64Text("*", name=name) if value.data is None else Bytes(value.data, name=name)
    if not isinstance(value, str):
        return None
    text = "".join(_DATA_URL.sub("", value, count=1).split()).translate(_STANDARD_ALPHABET).rstrip("=")
    return Base64Text(text + "=" * (-len(text) % 4), name=name) if text else None
