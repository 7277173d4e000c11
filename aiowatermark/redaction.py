"""Redaction: what may be shown of URLs and answers, as one clean line without credentials.

Every text from outside passes here before it goes into an error, a log, a store or a terminal:

    cut        to 2,000 characters, before anything is searched
    decoded    escapes of URLs, HTML and JSON, and letters in compatibility forms, so that none of them hides a secret
    searched   for user names, passwords and queries in URLs, for the secrets that are in use in this process, and for
               texts that look like a key or like encoded data
    cleaned    no control characters, no terminal escapes, one line, cut to the length asked for

Every step takes time in proportion to the length of the text.

`protect_secrets` makes a secret known. It is forgotten with its owner, a provider. Of each secret the parts of eight
characters are kept, also of its base64 and hexadecimal form; a text is compared with them twice: as it is, and without
everything that is neither letter nor digit. So a part of a key is found whatever separates its characters.
"""

from __future__ import annotations

import html
import json
import re
import threading
import unicodedata
import weakref
from base64 import b64encode
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import groupby
from typing import Any
from urllib.parse import unquote, urlsplit

MAX_REASON = 500
"""Characters of the longest reason that is kept of a failed job."""

_SECRET_WORDS = ("base64", "image", "mask", "signed_url", "token", "secret", "key", "session")
_MAX_PARSED_BYTES = 1 << 16
_MAX_SEARCHED_CHARACTERS = 2000
_PART = 8
"""Characters of the shortest part of a secret that is hidden."""
_MIN_SECRET = 4
"""Characters of the shortest secret that is hidden; a shorter one would hide ordinary words."""
_DECODING_ROUNDS = 3
# Longer than any word, so it is base64 or hexadecimal. Wrapped base64 has lines of 76 characters.
_BLOB = re.compile(r"[\w+/=-]{64,}", re.ASCII)
_TOKEN = re.compile(r"[\w+=-]{20,}", re.ASCII)
_SECRET_QUERY = re.compile(r"\?.*", re.DOTALL)
_RUN = re.compile(r'[^\s"<>]+')
_NOT_IN_ID = re.compile(r"[^\w.:/+=@-]", re.ASCII)
_MAX_ID = 100
"""Characters of the longest identifier that is kept."""
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\(/)|\\[bfnrt]")
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class _Secrets:
    """The parts of all secrets in use, each with the number of secrets that have it."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        # reentrant: the garbage collector may end an owner while another one is added in the same thread
        self._lock = threading.RLock()

    def add(self, owner: object, secrets: Iterable[str], names: Iterable[str]) -> None:
        parts = {part for secret in secrets for part in _parts(secret)}
        parts.difference_update(part for name in names for part in _parts(name))
        self._count(parts, 1)
        weakref.finalize(owner, self._count, parts, -1).atexit = False

    def _count(self, parts: Iterable[str], change: int) -> None:
        with self._lock:
            for part in parts:
                self._counts[part] = self._counts.get(part, 0) + change
                if not self._counts[part]:
                    del self._counts[part]

    def hide(self, text: str) -> str:
        """Return the text with every part of a secret replaced by one ellipsis."""
        lower = text.translate(_ASCII_LOWER)
        secret = bytearray(len(text))
        self._mark(range(len(lower)), lower, secret)
        letters = [index for index, char in enumerate(lower) if char.isascii() and char.isalnum()]
        self._mark(letters, "".join(lower[index] for index in letters), secret)
        for word in re.finditer(r"[^\W_]+", lower) if self._counts else ():
            if len(word[0]) < _PART and word[0] in self._counts:
                secret[word.start() : word.end()] = b"\1" * len(word[0])
        if not any(secret):
            return text
        groups = groupby(zip(text, secret, strict=True), key=lambda pair: pair[1])
        return "".join("…" if hidden else "".join(char for char, _ in pairs) for hidden, pairs in groups)

    def _mark(self, positions: range | list[int], text: str, secret: bytearray) -> None:
        for start in range(len(text) - _PART + 1):
            if text[start : start + _PART] in self._counts:
                first, last = positions[start], positions[start + _PART - 1]
                secret[first : last + 1] = b"\1" * (last + 1 - first)


_secrets = _Secrets()


def protect_secrets(owner: object, secrets: Iterable[str], names: Iterable[str] = ()) -> None:
    """Hide these secrets, and parts of them, in every text that is shown while `owner` exists.

    `names` are public: a part of a secret that is part of such a name is shown, as "watermark" in a key that begins
    with "dewatermark".
    """
    _secrets.add(owner, secrets, names)


def _parts(secret: str) -> Iterator[str]:
    """Yield what is searched for: the parts of a secret as it is and in its usual encodings, in lower case."""
    lower = secret.translate(_ASCII_LOWER)
    if _MIN_SECRET <= len(secret) < _PART:
        yield lower
    data = secret.encode(errors="surrogatepass")
    letters = "".join(char for char in lower if char.isascii() and char.isalnum())
    for form in (lower, letters, lower[::-1], data.hex(), *_base64_forms(data)):
        yield from (form[start : start + _PART] for start in range(len(form) - _PART + 1))


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield the base64 text of bytes at each of the three positions they may have in a longer text."""
    for offset in range(3):
        text = b64encode(bytes(offset) + data).decode().translate(_ASCII_LOWER)
        # without the characters that also encode a neighbouring byte
        yield text[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]


def redact_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, on one line; a text without a host as it was given."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    if parts.netloc:
        shown = f"{parts.scheme}{':' * bool(parts.scheme)}//{parts.netloc.rpartition('@')[2]}{parts.path}"
    else:  # it may still hold a user and a password, as name:password@host does
        shown = url.partition("?")[0].partition("#")[0].rpartition("@")[2]
    shown = shown[:_MAX_SEARCHED_CHARACTERS]
    return f"{_on_one_line(_secrets.hide(_hide_tokens(shown)))}{'?…' if parts.query else ''}"


def mask_password(location: str) -> str:
    """Return the location of a store without the user, the password and the options of its URL."""
    scheme, found, rest = location.partition("://")
    if not found:
        return location
    # up to the last @, because a password may hold one, or a slash, that was not percent-encoded
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{'***@' if at and user else ''}{_SECRET_QUERY.sub('?***', host)}"


def redacted_location(url: str) -> tuple[str, str]:
    """Return the host of a URL, with its port, and its path, as `redact_url` shows them.

    A path is looked at segment by segment, so that a long one of ordinary names is not taken for encoded data.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", "an invalid URL"
    host = parts.netloc.rpartition("@")[2]
    segments = _secrets.hide(parts.path[:_MAX_SEARCHED_CHARACTERS]).split("/")
    return _on_one_line(_secrets.hide(host)), _on_one_line("/".join(map(_hide_tokens, segments)))


def redacted_excerpt(body: bytes, limit: int = 300) -> str:
    """Return the text of an answer on one line of at most `limit` characters.

    URL queries, user names and passwords in URLs, values with secret names, secrets in use and long encoded values are
    left out.
    """
    return _clean(_readable_text(body))[:limit]


def redacted_json(body: bytes) -> Any:
    """Return an answer as JSON values, each text of it as `redacted_excerpt` shows it; a text if it is not JSON.

    Lists are cut to 20 items, texts to 2,000 characters. None for an empty answer.
    """
    try:
        return _redact_texts(_redact(json.loads(body)))
    except (ValueError, RecursionError):
        return redacted_excerpt(body, _MAX_SEARCHED_CHARACTERS) or None


def _redact_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {_clean(key): _redact_texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_redact_texts(item) for item in value]
    return _clean(value) if isinstance(value, str) else value


def clean_id(text: str) -> str:
    """Return an identifier that a provider gave, such as that of a request; secrets in use are left out.

    Unlike other texts it may look like a key: that is what identifiers look like.
    """
    return _NOT_IN_ID.sub("", _secrets.hide(text[: 2 * _MAX_ID]))[:_MAX_ID]


def short_text(text: str, limit: int) -> str:
    """Return a text, such as a job's key, on one line of at most `limit` characters, without the secrets in URLs."""
    text = _on_one_line(_RUN.sub(_redact_urls, _beginning(text)))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def short_excerpt(text: str, limit: int) -> str:
    """Return a text that may quote a provider's answer as `redacted_excerpt` does."""
    return redacted_excerpt(text[:_MAX_SEARCHED_CHARACTERS].encode(errors="backslashreplace"), limit)


def clean_text(text: str, limit: int = MAX_REASON) -> str:
    """Return what a provider wrote, such as the reason of a failure, as `redacted_excerpt` shows an answer."""
    redacted = _redacted_json(text.encode(errors="surrogatepass")) if text[:1] in {"{", "["} else None
    return _clean(text if redacted is None else redacted)[:limit]


def clean_reason(reason: str | None) -> str | None:
    """Return the reason of a failure as it may be kept and shown; None stays None."""
    return None if reason is None else clean_text(reason)


def _clean(text: str) -> str:
    """Return a text without secrets, on one line: the steps at the head of this module."""
    # searched for secrets before the escapes are decoded, too: a backslash may just stand between two letters
    text = _beginning(_decode(_secrets.hide(_beginning(text))))
    text = _RUN.sub(_redact_urls, text)
    return _on_one_line(_secrets.hide(_hide_tokens(text)))


def _beginning(text: str) -> str:
    """Return what is searched of a text; a user and password at its end, where they may be cut off, are left out."""
    if len(text) <= _MAX_SEARCHED_CHARACTERS:
        return text
    before, found, after = text[:_MAX_SEARCHED_CHARACTERS].rpartition("://")
    return text[:_MAX_SEARCHED_CHARACTERS] if "/" in after or not found else f"{before}{found}"


def _decode(text: str) -> str:
    """Return a text without the escapes of URLs, HTML and JSON, and with plain letters in place of look-alikes."""
    for _ in range(_DECODING_ROUNDS):
        before = text
        text = html.unescape(_ESCAPE.sub(_unescape, unquote(text, errors="replace")))
        if text == before:
            break
    # the ellipsis is what redaction itself puts in place of a value
    return "…".join(unicodedata.normalize("NFKC", part) for part in text.split("…")).replace("\0", "")


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else match[3] or " "


def _redact_urls(match: re.Match[str]) -> str:
    """Return a text without white space after removing the query and user of URLs in it, also of one cut at its start.

    A text that ends before the end of the user and password is treated as if they went on: it may have been cut.
    """
    run, query = match[0], ""
    for mark in "?#":
        before, found, after = run.partition(mark)
        if found and ("://" in before or "=" in after):
            run, query = before, f"{mark}…"
    first, *rest = run.split("://")
    return "://".join([first, *map(_without_user, rest)]) + query


def _without_user(text: str) -> str:
    authority, slash, path = text.partition("/")
    return f"{authority.rpartition('@')[2]}{slash}{path}"


def _hide_tokens(text: str) -> str:
    return _BLOB.sub("…", _TOKEN.sub(_hide_token, text))


def _hide_token(match: re.Match[str]) -> str:
    """Return a word, or an ellipsis if it looks like a key: long, in both cases, and with digits unless very long.

    The keys of callbacks look so; UUIDs, digests and the names of errors do not.
    """
    word = match[0]
    both_cases = word.lower() != word != word.upper()
    key = both_cases and (len(word) >= 32 or any(char.isdigit() for char in word))
    return "…" if key or len(word) >= 64 else word


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


def _readable_text(body: bytes) -> str:
    """Return the text of an answer, with secret values hidden if it is JSON."""
    if (redacted := _redacted_json(body)) is not None:
        return redacted
    # JSON that is too large, too deep or truncated cannot be redacted by key, so only its length is shown
    if body[:_MAX_PARSED_BYTES].lstrip()[:1] in {b"{", b"[", b'"'}:
        return f"<{len(body)} bytes>"
    return body[:_MAX_PARSED_BYTES].decode(json.detect_encoding(body[:4]), errors="replace")


def _redacted_json(body: bytes) -> str | None:
    """Return JSON with secret values hidden; None if it is not JSON, is null, or is too large or too deep."""
    try:
        payload = json.loads(body) if len(body) < _MAX_PARSED_BYTES else None
        return None if payload is None else json.dumps(_redact(payload), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _redact(value: Any, *, hidden: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _redact(item, hidden=hidden or _is_secret(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_redact(item, hidden=hidden) for item in value[:20]]
    # URLs stay, also under a secret name: they help to find the cause, and their credentials are removed later
    return "…" if hidden and isinstance(value, str) and "://" not in value else value


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_WORDS)


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine's loopback interface."""
    if host == "localhost":
        return True
    if not host or not (host[-1].isdigit() or ":" in host):
        return False  # any other name; it is not resolved here
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
