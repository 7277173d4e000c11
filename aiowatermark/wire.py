"""HTTP as values: requests, their bodies, responses and callback deliveries. Nothing here performs I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, TypeAlias

from attrs import define, field, frozen

from .errors import UnexpectedAnswer
from .introspection import documented
from .media.base import Media
from .redaction import redacted_excerpt

_MAX_PARTS, _MAX_PART_HEAD = 64, 1000
_MAX_BOUNDARY = 2 + 70  # two hyphens and the boundary: RFC 2046, 5.1.1
_FIELD_NAME = re.compile(r'; *name="([^"\r\n]*)"', re.IGNORECASE)

FieldValue: TypeAlias = str | Media
"""Value of a form field: text, or a file."""


@frozen
class Base64:
    """Media to be sent as base64 text inside JSON, encoded while it is sent, without a `data:` prefix."""

    media: Media


@frozen
class Json:
    """A JSON object as a body; its values may be Base64."""

    value: Mapping[str, Any]


@frozen
class Multipart:
    """A multipart/form-data body. `types` gives the Content-Type of a file field where the provider depends on it."""

    fields: Mapping[str, FieldValue]
    types: Mapping[str, str] = field(factory=dict)


Body: TypeAlias = Json | Multipart | Media | None


@frozen
class Request:
    """One HTTP request. `target` is a path at the provider's origin or, if `signed`, a complete URL.

    `signed`: the URL carries its own credentials. It is sent byte for byte and without the API key.
    `repeatable`: sending the request again costs nothing. Any other request is paid and is sent at most once.
    """

    method: str
    target: str = field(repr=lambda target: target.partition("?")[0])
    body: Body = field(default=None, repr=False)
    signed: bool = False
    repeatable: bool = False


@define
class Response:
    """A complete HTTP response; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    _payload: Any = field(default=None, init=False, repr=False)

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, parsed once; raises UnexpectedAnswer for anything else."""
        if self._payload is None:
            self._payload = parse_json(self.body)
        if not isinstance(self._payload, dict):
            raise UnexpectedAnswer("the answer is not a JSON object", answer=self.excerpt)
        return self._payload

    def parse_in_advance(self) -> None:
        """Parse the body now; for large bodies, in a worker thread, so that `json` does not block the event loop."""
        self._payload = parse_json(self.body)

    @property
    def excerpt(self) -> str:
        """The status and the redacted, shortened body, for error messages."""
        return f"HTTP {self.status} {redacted_excerpt(self.body)}".rstrip()

    @property
    def retry_after(self) -> float | None:
        """The Retry-After header in seconds, None if there is none or it is invalid.

        A date is compared with the response's Date header, because the local clock may be wrong.
        """
        return _parse_retry_after(self.headers.get("retry-after"), self.headers.get("date"))


@documented
@frozen
class Delivery:
    """One POST to a callback URL.

    Args:
        body: the request's body, as it was received.
        content_type: the value of its Content-Type header.
        content_encoding: the value of its Content-Encoding header, if the body is still encoded: the receiver decodes
            gzip and deflate.
    """

    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    content_type: str = ""
    content_encoding: str = ""


def parse_json(body: bytes) -> Any:
    """Return the JSON value in `body`, or None if it is not valid JSON; NaN and Infinity are not valid."""
    try:
        # surrogatepass: as json.loads decodes bytes; lone surrogates are valid JSON
        return _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        return None


def parse_form_data(body: bytes) -> list[tuple[str, str]]:
    """Return names and values of the parts of a multipart/form-data body, at most 64; parts without names are left out.

    The boundary is taken from the body's first line, so that the Content-Type header need not be parsed. The time is
    linear in the size of the body.
    """
    boundary = body[: body.find(b"\r\n")][:_MAX_BOUNDARY]
    fields = []
    for part in body.split(b"\r\n" + boundary, _MAX_PARTS)[:-1] if len(boundary) > len("--") else []:
        head, blank_line, value = part.partition(b"\r\n\r\n")
        name = _FIELD_NAME.search(head[:_MAX_PART_HEAD].decode(errors="replace"))
        if blank_line and name is not None:
            fields.append((name[1], value.decode(errors="replace")))
    return fields


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _parse_retry_after(text: str | None, date: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text, date)
    return max(0.0, seconds) if isfinite(seconds) else None


def _seconds_until(text: str, date: str | None) -> float | None:
    try:
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(date or "")).total_seconds())
    except (ValueError, TypeError):
        return None


def join_sorted(names: Iterable[str]) -> str:
    """Return names in alphabetical order, separated by commas, for error messages."""
    return ", ".join(sorted(names))
