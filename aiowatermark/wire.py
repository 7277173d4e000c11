"""HTTP as values: requests, their bodies, responses and callback deliveries. Nothing here performs I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from attrs import define, field, frozen

from .errors import UnexpectedAnswer
from .introspection import documented
from .media.base import Media
from .redaction import clean_id, clean_text, redacted_excerpt, redacted_json

_MAX_PARTS, _MAX_PART_HEAD = 64, 1000
_MAX_DIGITS = 300
"""Of an integer, where an answer has one of more than 4,300, which Python refuses to parse; a float has at most 309."""
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


MAX_ANSWER_BYTES = 1 << 18
"""Bytes of the largest answer that carries no image, 256 KiB, and of everything but the images in one that does."""
_MAX_KEPT = 1 << 14
_REQUEST_IDS: Mapping[str, None] = dict.fromkeys(
    ("x-request-id", "request-id", "x-requestid", "x-trace-id", "trace-id", "trace_id", "x-amz-request-id")
)
"""Headers of an answer that name its request, the first counts."""
_REQUEST_ID_FIELDS: Mapping[str, None] = dict.fromkeys(("request_id", "requestId", "trace_id", "traceId", "log_id"))
MAX_RETRY_AFTER = 3600.0
"""Seconds of the longest wait that a server may ask for; a longer one is cut to this."""


@frozen
class Request:
    """One HTTP request. `target` is a path at the provider's origin or, if `signed`, a complete URL.

    `signed`: the URL carries its own credentials. It is sent byte for byte and without the API key.
    `repeatable`: sending the request again costs nothing. Any other request is paid and is sent at most once.
    `max_answer`: bytes of the largest answer, after decompression. If it is more than the default, the answer carries
    images: strings of more than 64 KiB are read as LongText. In other answers such strings are cut off.
    """

    method: str
    target: str = field(repr=lambda target: target.partition("?")[0])
    body: Body = field(default=None, repr=False)
    signed: bool = False
    repeatable: bool = False
    max_answer: int = MAX_ANSWER_BYTES


@frozen(eq=False)
class LongText:
    """A long string of an answer: its length in bytes, and the bytes it encodes, None if it is not base64."""

    length: int
    data: bytes | None = field(repr=False)


@define
class Response:
    """A complete HTTP response; header names are lower-case.

    `texts` are long strings that were taken out of the body, by the strings that replace them there.
    `repeatable` is that of the request: what an answer means for the money depends on it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    texts: Mapping[str, LongText] = field(factory=dict, repr=False)
    repeatable: bool = False
    _payload: Any = field(default=None, init=False, repr=False)

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, parsed once; raises UnexpectedAnswer for anything else.

        Its values are those of JSON, and LongText for the strings in `texts`.
        """
        if self._payload is None:
            payload = parse_json(self.body)
            self._payload = _with_texts(payload, self.texts) if self.texts else payload
        if not isinstance(self._payload, dict):
            raise UnexpectedAnswer("the answer is not a JSON object", answer=self.excerpt)
        return self._payload

    @property
    def excerpt(self) -> str:
        """The status and the redacted, shortened body, for error messages."""
        return f"HTTP {self.status} {redacted_excerpt(self.body)}".rstrip()

    @property
    def request_id(self) -> str | None:
        """The provider's own name for the request, which its support asks for; None if it gave none."""
        payload = self._payload if self._payload is not None else parse_json(self.body)
        found = _first_text(_REQUEST_IDS, {name.lower(): value for name, value in self.headers.items()})
        if found is None and isinstance(payload, dict):
            found = _first_text(_REQUEST_ID_FIELDS, payload)
        return None if found is None else clean_id(found) or None

    @property
    def retry_after(self) -> float | None:
        """The Retry-After header in seconds, at most an hour; None if there is none or it is invalid.

        A date is compared with the response's Date header, because the local clock may be wrong.
        """
        return parse_retry_after(self.headers.get("retry-after"), self.headers.get("date"))

    @property
    def redirect_origin(self) -> str | None:
        """The origin that the Location header leads to, None if there is none or it is relative."""
        try:
            parts = urlsplit(self.headers.get("location", ""))
        except ValueError:
            return None
        return clean_text(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", 200) if parts.netloc else None


@frozen
class KeptAnswer:
    """What is kept of a job's last answer: enough to look up what this package does not read."""

    status: int
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    request_id: str | None = None

    @classmethod
    def of(cls, response: Response) -> KeptAnswer:
        """Return what is kept of a response; a body of more than 16 KiB is not."""
        body = response.body if len(response.body) <= _MAX_KEPT else b""
        return cls(response.status, body, response.request_id)

    @property
    def raw(self) -> Any:
        """The body as JSON values, or as text if it is not JSON, without secrets; None if there is none."""
        return redacted_json(self.body)


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


def _first_text(names: Mapping[str, None], values: Mapping[str, Any]) -> str | None:
    """Return the first value under one of these names that is a text or a number, as text."""
    if names.keys().isdisjoint(values):
        return None  # the usual case costs one look-up
    found = (values.get(name) for name in names)
    return next((str(value) for value in found if isinstance(value, str | int) and value != ""), None)


def parse_json(body: bytes) -> Any:
    """Return the JSON value in `body`, or None if it is none.

    What some servers write is tolerated, because it may be in a field not needed, beside the id of a job that
    is paid: NaN, Infinity and numbers that are too large become None; control characters in texts are kept, and bytes
    that are not of the encoding replaced.
    """
    # the usual case first: what begins with two characters of ASCII is UTF-8
    text = _decode(body, "utf-8" if body.startswith(b'{"') else json.detect_encoding(body))
    try:
        return _DECODER.decode(text)
    except RecursionError:
        return None
    except ValueError:  # no JSON, or an integer of more than 4,300 digits
        return _parse_with_long_integers(text)


def _parse_with_long_integers(text: str) -> Any:
    try:
        return _DECODER_OF_LONG_INTEGERS.decode(text)
    except (ValueError, RecursionError):
        return None


def _decode(body: bytes, encoding: str) -> str:
    try:
        # as json.loads decodes bytes; lone surrogates are valid JSON
        return body.decode(encoding, "surrogatepass")
    except UnicodeDecodeError:
        return body.decode(encoding, "replace")


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


def _parse_float(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _parse_int(text: str) -> int | None:
    return int(text) if len(text) <= _MAX_DIGITS else None


def _decoder(**options: Any) -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=lambda _: None, parse_float=_parse_float, strict=False, **options)


_DECODER, _DECODER_OF_LONG_INTEGERS = _decoder(), _decoder(parse_int=_parse_int)
"""A function of ours for each integer takes longer than all the rest of an answer: only where Python's own refuses."""


def _with_texts(value: Any, texts: Mapping[str, LongText]) -> Any:
    """Return a JSON value with the long strings in place of the strings that replace them."""
    try:
        match value:
            case dict():
                return {key: _with_texts(item, texts) for key, item in value.items()}
            case list():
                return [_with_texts(item, texts) for item in value]
            case str():
                return texts.get(value, value)
    except RecursionError:
        return None
    return value


def parse_retry_after(text: str | None, date: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most an hour; None if there is none or it is invalid.

    `date` is the Date header, with which a date is compared.
    """
    if text is None:
        return None
    try:
        seconds: float | None = float(text)
    except ValueError:
        seconds = _seconds_until(text, date)
    return min(max(0.0, seconds), MAX_RETRY_AFTER) if seconds is not None and isfinite(seconds) else None


def _seconds_until(text: str, date: str | None) -> float | None:
    try:
        return (parsedate_to_datetime(text) - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def join_sorted(names: Iterable[str]) -> str:
    """Return names in alphabetical order, separated by commas, for error messages."""
    return ", ".join(sorted(names))
