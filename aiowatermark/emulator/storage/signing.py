"""Links that look pre-signed: valid for a time, for one use, and only byte for byte as they were given."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import re
import secrets
from collections.abc import Callable

from attrs import define, field

from ..web.responses import ApiError, ErrorReason

_MARK = "&Signature="
_EXPIRES = re.compile(r"[?&]Expires=(\d+(?:\.\d+)?)&")


@define
class Signer:
    """Signs paths and checks what comes back.

    The query holds what careless clients rewrite, as Google's and Aliyun's signatures do: `%2F`, `%3A`, `+` and `=`.
    It holds no `%7E`: `requests`, with which the documents send their own examples, makes `~` of it.
    """

    clock: Callable[[], float]
    _secret: bytes = field(init=False, repr=False, factory=lambda: secrets.token_bytes(32))
    _numbers: itertools.count[int] = field(init=False, repr=False, factory=itertools.count)

    def sign(self, path: str, use: str, lifetime: float) -> str:
        """The path with a query that lets it be used for so many seconds; no two of them are the same."""
        expires = f"{self.clock() + lifetime:.3f}"
        query = f"Credential=emulator%2Fv4%3A{next(self._numbers)}&Scope=object+{use}&Expires={expires}"
        text = f"{path}?{query}"
        return f"{text}{_MARK}{self._signature(text)}"

    def verify(self, raw_path: str, use: str) -> None:
        """Compare the path as it was received. Raises Refusal."""
        text, _, signature = raw_path.partition(_MARK)
        right = hmac.compare_digest(self._signature(text).encode(), signature.encode("utf-8", "replace"))
        expires = _EXPIRES.search(text + "&")
        if not right or expires is None or f"&Scope=object+{use}&" not in text:
            raise ApiError(ErrorReason.SIGNATURE, "The calculated signature does not match the one provided.")
        if self.clock() >= float(expires[1]):
            raise ApiError(ErrorReason.EXPIRED, "The provided token has expired.")

    def _signature(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode("utf-8", "replace"), hashlib.sha256)
        return base64.b64encode(digest).decode().replace("/", "%2F")
