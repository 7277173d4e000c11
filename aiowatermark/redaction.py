"""What may be shown of answers and URLs: no credentials, no query strings, no large values."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

_SECRET = ("base64", "image", "mask", "signed_url", "token", "secret", "key", "session")
_LARGE = 1 << 16
_QUERY = re.compile(r'(://[^\s"<>?]*)\?[^\s"<>]*|\?[^\s"<>]*=[^\s"<>]*')
_USER = re.compile(r'://[^\s/"<>?]*@')
# longer than any word: a picture or a key; a line of wrapped base64 has 76
_BLOB = re.compile(r"[\w+/=-]{72,}", re.ASCII)


def redact_url(url: str) -> str:
    """A link fit for texts: no credentials, no query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a broken link"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}"


def redacted_excerpt(body: bytes, limit: int = 300) -> str:
    """An answer's text without links' queries, pictures or other long or secret values, shortened, on one line."""
    text = " ".join(_text(body).split())
    text = _USER.sub("://", _QUERY.sub(r"\1?…", text))
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in _BLOB.sub("…", text))
    return text[:limit]


def _text(body: bytes) -> str:
    """Readable text of an answer; of JSON that is too large, too deep or cut only its length."""
    try:
        if len(body) < _LARGE and (payload := json.loads(body)) is not None:
            return json.dumps(_redact(payload), ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    if body.lstrip()[:1] in {b"{", b"[", b'"'}:
        return f"<{len(body)} bytes>"
    return body[:2000].decode(errors="replace")


def _redact(value: Any, *, hidden: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _redact(item, hidden=hidden or _is_secret(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_redact(item, hidden=hidden) for item in value[:20]]
    return "…" if hidden and isinstance(value, str) and "://" not in value else value


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET)


def is_loopback(host: str | None) -> bool:
    """Whether a host name is this machine's own loopback."""
    if host == "localhost":
        return True
    if not host or not (host[-1].isdigit() or ":" in host):
        return False  # a name
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
