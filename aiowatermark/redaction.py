"""Redaction: removes credentials, URL queries and large values from URLs and answers before they are shown."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

_SECRET_WORDS = ("base64", "image", "mask", "signed_url", "token", "secret", "key", "session")
_MAX_PARSED_BYTES = 1 << 16
_MAX_SHORTENED_CHARACTERS = 500
_MAX_EXCERPT_CHARACTERS = 2000
# the query of a URL, or of one whose beginning was cut off or is relative
_QUERY = re.compile(r'(://[^\s"<>?]*)\?[^\s"<>]*|\?[^\s"<>]*=[^\s"<>]*')
_USER_INFO = re.compile(r'://[^\s/"<>?]*@')
_CUT_USER_INFO = re.compile(r'://[^\s/"<>?]*\Z')
# Longer than any word, so it is base64 or a key. Wrapped base64 has lines of 76 characters.
_BLOB = re.compile(r"[\w+/=-]{72,}", re.ASCII)


def redact_url(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}"


def redacted_excerpt(body: bytes, limit: int = 300) -> str:
    """Return the text of an answer on one line of at most `limit` characters.

    URL queries, user names and passwords in URLs, values with secret names and long encoded values are left out.
    """
    text = _beginning(_readable_text(body), _MAX_EXCERPT_CHARACTERS)
    return _on_one_line(_BLOB.sub("…", _redact_urls(text)))[:limit]


def short_text(text: str, limit: int) -> str:
    """Return a text, such as a job's key, on one line of at most `limit` characters, without the secrets in URLs."""
    text = _on_one_line(_redact_urls(_beginning(text, _MAX_SHORTENED_CHARACTERS)))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def short_excerpt(text: str, limit: int) -> str:
    """Return a text that may quote a provider's answer as `redacted_excerpt` does."""
    return redacted_excerpt(_beginning(text, _MAX_SHORTENED_CHARACTERS).encode(errors="backslashreplace"), limit)


def _beginning(text: str, length: int) -> str:
    """Return the first characters: the time the patterns take grows with the square of the length."""
    if len(text) <= length:
        return text
    # without the @ that follows them, a user and password at the end would not be recognized
    return _CUT_USER_INFO.sub("://", text[:length])


def _redact_urls(text: str) -> str:
    return _USER_INFO.sub("://", _QUERY.sub(r"\1?…", text))


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


def _readable_text(body: bytes) -> str:
    """Return the text of an answer, with secret values hidden if it is JSON."""
    try:
        if len(body) < _MAX_PARSED_BYTES and (payload := json.loads(body)) is not None:
            return json.dumps(_redact(payload), ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    # JSON that is too large, too deep or truncated cannot be redacted by key, so only its length is shown
    if body.lstrip()[:1] in {b"{", b"[", b'"'}:
        return f"<{len(body)} bytes>"
    return body[:_MAX_PARSED_BYTES].decode(errors="replace")


def _redact(value: Any, *, hidden: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _redact(item, hidden=hidden or _is_secret(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_redact(item, hidden=hidden) for item in value[:20]]
    # URLs stay, also under a secret name: they help to find the cause, and _QUERY removes their credentials
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
