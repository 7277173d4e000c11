"""Tokens: a text that names a job at a provider, which any process with the same account can resume.

    aw2.<base64url of JSON>   [provider, key, task id or null, 1 for a video, [input, …], account, route or null]
    aw1.<base64url of JSON>   the same without account and route; written by earlier versions, and still read

A token contains no secret: the account is its name or a digest of its credentials.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, NamedTuple

from .errors import InvalidInput

PREFIXES = ("aw2.", "aw1.")
"""What a token begins with: that of this version first."""


class Token(NamedTuple):
    """What a token says of its job."""

    provider: str
    key: str
    task_id: str | None = None
    video: bool = False
    inputs: tuple[str, ...] = ()
    account: str = ""
    route: str | None = None


def encode_token(token: Token) -> str:
    """Return the token as a text."""
    parts = [*token[:3], int(token.video), list(token.inputs), token.account, token.route]
    text = json.dumps(parts, separators=(",", ":"))
    return PREFIXES[0] + urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(text: str) -> Token:
    """Return the token in a text; raises InvalidInput if it is not a valid token."""
    try:
        return _validate(_parts(text))
    # RecursionError: a token may decode to deeply nested JSON
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InvalidInput("not a valid job token: pass handle.token or error.token unchanged") from None


def _parts(text: str) -> list[Any]:
    """Return the fields of a token; raises an exception of any kind `decode_token` catches for a damaged one."""
    prefix = next(prefix for prefix in (*PREFIXES, text) if text.startswith(prefix))
    encoded = text.removeprefix(prefix)
    parts: list[Any] = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    if len(parts) != (7 if prefix == PREFIXES[0] else 5):
        raise ValueError(prefix)
    return parts


def _validate(parts: list[Any]) -> Token:
    provider, key, task_id, video, inputs, account, route = parts if len(parts) == 7 else (*parts, "", None)
    texts, optional_texts = (provider, key, account, *inputs), (task_id, route)
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError
    if not all(text is None or isinstance(text, str) for text in optional_texts):
        raise TypeError
    return Token(provider, key, task_id, bool(video), tuple(inputs), account, route)
