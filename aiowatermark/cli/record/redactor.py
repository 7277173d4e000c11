"""Redactor: what may be written of a recorded answer, so that its form stays and nothing secret does.

    part of an answer                     what is written
    numbers, true, false, null            as they are, unless they are under a secret name
    values of secret names (token, user)  "REDACTED", also those of objects and lists below such a name
    ids (task_id, trace_id)               task_id-1, task_id-2: the same id is the same text everywhere
    URLs                                  scheme and host; a name that stands for the path, and no query
    e-mail addresses                      user@example.com
    media                                 the number of bytes and their digest
    other texts                           without secrets in use, and without words that look like keys
    headers                               names; values only of those that are listed here

Secrets in use are the provider's keys, which every text of the SDK leaves out (redaction.py), and what is added here:
keys of callback URLs, and what the queries of URLs contain. `leaks` is a second search, over the finished text, for
each secret as a whole in its usual encodings: what contains one must not be written at all.

An id is learned from an answer before it can be recognised in the path of a later request, so exchanges are redacted
in the order in which they were made.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from attrs import define, field

from ... import Provider
from ...redaction import clean_text, protect_secrets
from ...wire import LongText, Response, parse_json

HIDDEN = "REDACTED"
_MAX_TEXT, _MAX_ITEMS = 2000, 100
_MIN_SECRET, _MIN_ID = 8, 6
_ID_NAME = re.compile(r"(?:^|[_-])(?:id|ids|uid|uuid|guid)$|[a-z](?:Id|Ids|ID|Uid|UUID)$", re.ASCII)
_SECRET_NAME = re.compile(
    "token|secret|passw|signature|credential|cookie|auth|key|mail|phone|mobile|account|user|owner|company",
    re.IGNORECASE,
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s\"'<>\\]+")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# 16 characters: shorter than any key or signature, longer than a date
_URL_OR_WORD = re.compile(rf"(?P<url>{_URL.pattern})|[A-Za-z0-9+=_~-]{{16,}}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
# these say how a provider limits requests or what it runs on; none of them identifies a person
_SHOWN_HEADERS = re.compile(
    r"retry-after|date|content-type|content-encoding|content-length|transfer-encoding|server|via|cache-control|allow|"
    r"user-agent|x-?rate-?limit(?:-.*)?|ratelimit(?:-.*)?|x-powered-by",
    re.IGNORECASE,
)


@define(eq=False)
class Redactor:
    """Redacts one recording; `replace`, `replace_url` and `add_secret` tell it what is the user's own."""

    _secrets: list[str] = field(factory=list, init=False, repr=False)
    _replaced: dict[str, str] = field(factory=dict, init=False, repr=False)
    _ids: dict[str, str] = field(factory=dict, init=False, repr=False)
    _paths: dict[str, str] = field(factory=dict, init=False, repr=False)

    @classmethod
    def for_provider(cls, provider: Provider) -> Redactor:
        """Return a redactor that knows the provider's keys and what its headers make of them."""
        redactor = cls()
        sent = [value for name, value in provider.headers.items() if _SECRET_NAME.search(name)]
        # in texts they are hidden by the provider itself, while it exists
        redactor._secrets += {*(getattr(provider, name) for name in provider.env), *(each.split()[-1] for each in sent)}
        return redactor

    def add_secret(self, secret: str) -> None:
        """Leave this text out from now on, as it is and in its usual encodings."""
        if len(secret) >= _MIN_SECRET and secret not in self._secrets:
            self._secrets.append(secret)
            protect_secrets(self, [secret])

    def replace(self, text: str, shown: str) -> None:
        """Write `shown` in place of a text of ours or of the user's."""
        self._replaced[text] = shown

    def replace_url(self, url: str, shown: str) -> None:
        """Write `shown` in place of a URL of the user's, with or without its query, and leave out query and host."""
        self.replace(url, shown)
        self.replace(shown, shown)  # it must not be redacted itself
        self._replaced.setdefault(url.partition("?")[0], shown)
        self._learn_query(url)
        if host := urlsplit(url).hostname:
            self._replaced[host] = urlsplit(shown).hostname or HIDDEN

    def answer(self, response: Response) -> Any:
        """Return the body of an answer: its JSON value, or its text; None if it is empty."""
        return self.body(response.body, response.texts)

    def body(self, body: bytes, texts: Mapping[str, LongText] | None = None) -> Any:
        """Return a body; `texts` are the long texts that were taken out of it."""
        if not body:
            return None
        payload = parse_json(body)
        if payload is None:
            return self.text(body[:_MAX_TEXT].decode(errors="replace"))
        try:
            return self.value(_describe_long_texts(payload, texts or {}))
        except RecursionError:
            return f"<{len(body)} bytes of JSON, nested too deeply>"

    def value(self, value: Any, name: str = "", *, hidden: bool = False) -> Any:
        """Return a JSON value of the field `name`; `hidden` if it is below a field with a secret name."""
        is_id = _ID_NAME.search(name) is not None
        hidden = hidden or (not is_id and _SECRET_NAME.search(name) is not None)
        match value:
            case dict():
                items = list(value.items())[:_MAX_ITEMS]
                return {self.text(key, 100): self.value(item, key, hidden=hidden) for key, item in items}
            case list():
                return [self.value(item, name, hidden=hidden) for item in value[:_MAX_ITEMS]]
            case None | bool() | "":
                return value
            case _Described():
                return str(value)
            case str() if _URL.match(value):
                return self.text(value)
            case _ if hidden:
                return HIDDEN
            case _ if is_id:
                return self.id(value, name)
        return self.text(value) if isinstance(value, str) else value

    def id(self, value: Any, name: str) -> Any:
        """Return what stands for an id, a text for a text and a number for a number."""
        text = str(value)
        if text in self._replaced:
            return self._replaced[text]
        if text not in self._ids:
            number = len(self._ids) + 1
            self._ids[text] = f"{self.text(name, 40)}-{number}" if isinstance(value, str) else str(1_000_000 + number)
        known = self._ids[text]
        return known if isinstance(value, str) else int(known) if known.isdecimal() else known

    def target(self, target: str) -> str:
        """Return the path of a request at the provider's origin, without its query, and with what stands for ids."""
        return "/".join(self._segment(segment) for segment in target.partition("?")[0].split("/"))

    def _segment(self, segment: str) -> str:
        text = unquote(segment)
        known = self._replaced.get(text) or self._ids.get(text)
        return segment if known is None else quote(known, safe="")

    def url(self, url: str) -> str:
        """Return what stands for a URL: the same for all URLs with the same host and path."""
        for known in (url, url.partition("?")[0]):
            if known in self._replaced:
                return self._replaced[known]
        try:
            self._learn_query(url)
            parts = urlsplit(url)
            host = _shown_host(parts.hostname or "")
            host = self._replaced.get(host) or clean_text(host)
        except ValueError:
            return HIDDEN
        name = self._paths.setdefault(f"{parts.hostname}{parts.path}", f"file-{len(self._paths) + 1}")
        suffix = PurePosixPath(parts.path).suffix.lower()
        return f"{parts.scheme}://{host}/{name}{suffix if _SUFFIX.fullmatch(suffix) else ''}"

    def _learn_query(self, url: str) -> None:
        """Keep what the query of a URL contains out of every other text, too: some errors repeat it."""
        query = urlsplit(url).query if url.count("&") < _MAX_ITEMS else ""
        # as they are, too; a query may be one value without a name
        raw = [pair.partition("=")[2] or pair for pair in query.split("&")]
        for value in (*(value for _, value in parse_qsl(query)), *raw):
            if _looks_random(value):
                self.add_secret(value)

    def text(self, text: str, limit: int = _MAX_TEXT) -> str:
        """Return a text without what it must not say."""
        if (known := self._replaced.get(text) or self._ids.get(text)) is not None:
            return known
        if _URL.fullmatch(text):
            return self.url(text)
        if _BASE64.fullmatch(text.strip()):
            return _describe_base64(text)
        if text[:1] in {"{", "["} and (inner := parse_json(text.encode(errors="replace"))) is not None:
            shown = self.value(inner)
            return text if shown == inner else json.dumps(shown, ensure_ascii=False)[:limit]
        return self._clean(self._without_names(text), limit)

    def _without_names(self, text: str) -> str:
        """Return a text with what stands for the user's texts, and for ids where they are words of their own."""
        for known, shown in sorted(self._replaced.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(known, shown)
        for known, shown in self._ids.items():
            if len(known) >= _MIN_ID and known in text:
                text = shown.join(re.split(rf"(?<![A-Za-z0-9]){re.escape(known)}(?![A-Za-z0-9])", text))
        return text

    def _clean(self, text: str, limit: int) -> str:
        return _URL_OR_WORD.sub(self._hide, _MAIL.sub("user@example.com", clean_text(text, limit)))

    def _hide(self, match: re.Match[str]) -> str:
        return self.url(match[0]) if match["url"] else "…" if _looks_random(match[0]) else match[0]

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of an answer or a callback, sorted; only listed ones with their values."""
        return dict(sorted((self.text(name.lower(), 60), self._header(name, value)) for name, value in headers.items()))

    def _header(self, name: str, value: str) -> str:
        return self.text(value, 200) if _SHOWN_HEADERS.fullmatch(name) else HIDDEN

    def leaks(self, text: str) -> bool:
        """Whether a finished text contains a secret as a whole, in any of its usual encodings."""
        lower = text.lower()
        return any(form.lower() in lower for secret in self._secrets for form in encodings(secret))


def encodings(secret: str) -> Iterator[str]:
    """Yield a secret as it is, percent-encoded, escaped for JSON and HTML, reversed, in hexadecimal and base64."""
    data = secret.encode()
    yield from (secret, unquote(secret), quote(secret, safe=""), quote_plus(secret), quote(quote(secret, safe="")))
    yield from (json.dumps(secret)[1:-1], html.escape(secret), secret[::-1], data.hex())
    for encode in (b64encode, urlsafe_b64encode):
        for offset in range(3):
            # without the characters that also encode a neighbouring byte
            yield encode(bytes(offset) + data).decode()[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]


def describe_media(size: int, digest: str) -> str:
    """Return what stands for media in an answer: a text without spaces, which some flows remove from base64."""
    return f"<{size}-bytes,{digest}>"


class _Described(str):
    """A text that stands for media: its digest is not redacted."""

    __slots__ = ()


def _describe_long_texts(value: Any, texts: Mapping[str, LongText]) -> Any:
    match value:
        case dict():
            return {key: _describe_long_texts(item, texts) for key, item in value.items()}
        case list():
            return [_describe_long_texts(item, texts) for item in value]
        case str() if value in texts:
            return _Described(_describe_bytes(texts[value].data, texts[value].length))
    return value


def _describe_base64(text: str) -> str:
    standard = text.strip().translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return _describe_bytes(b64decode(standard + "=" * (-len(standard) % 4), validate=True), len(text))
    except ValueError:
        return _describe_bytes(None, len(text))


def _describe_bytes(data: bytes | None, length: int) -> str:
    if data is None:
        return describe_media(length, "not-base64")
    return describe_media(len(data), f"blake2b-{hashlib.blake2b(data, digest_size=16).hexdigest()}")


def _shown_host(host: str) -> str:
    """Return the host of a URL; an address, or a name of this machine, says nothing and may be the user's."""
    try:
        ip_address(host)
    except ValueError:
        return host if "." in host else "host.example.com"
    return "host.example.com"


def _looks_random(word: str) -> bool:
    return len(word) >= 16 and any(char.isdigit() for char in word) and any(char.isalpha() for char in word)
