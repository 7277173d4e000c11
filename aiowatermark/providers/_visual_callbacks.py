"""Callbacks of gpt.ge and PicWish: neither vendor documents their format, so every plausible one is read."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from ..wire import parse_form_data, parse_json

# fields of a form may be named data[task_id]
_NESTED_FIELD = re.compile(r"data\[(\w+)\]")
_MAX_FIELDS = 64


def parse_visual_callback(body: bytes) -> Any:
    """Return the task in a callback: JSON or a form of either kind, with or without the envelope of an answer."""
    payload = parse_json(body)
    if payload is None:
        fields = parse_form_data(body) if body.startswith(b"--") else _parse_query(body)
        payload = {_NESTED_FIELD.sub(r"\1", name): value for name, value in fields}
    data = payload.get("data", payload) if isinstance(payload, dict) else None
    return parse_json(data.encode()) if isinstance(data, str) else data


def _parse_query(body: bytes) -> list[tuple[str, str]]:
    # max_num_fields: parse_qsl raises ValueError for more, so a hostile body costs little
    return parse_qsl(body.decode(errors="replace"), max_num_fields=_MAX_FIELDS)
