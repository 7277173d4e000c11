"""Signed URLs: valid for a time, for one operation and only byte for byte, like those of Google and Aliyun."""

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

_SIGNATURE_PARAMETER = "&Signature="
_EXPIRES = re.compile(r"[?&]Expires=(\d+(?:\.\d+)?)&")


@define
class Signer:
    """Signs paths and verifies the paths of requests.

    The query contains what careless clients rewrite, as Google's and Aliyun's signatures do: `%2F`, `%3A`, `+` and
    `=`. It contains no `%7E`, because `requests`, which the documents' own samples use, turns it into `~`.
    """

    clock: Callable[[], float]
    _secret: bytes = field(init=False, repr=False, factory=lambda: secrets.token_bytes(32))
    _serial: itertools.count[int] = field(init=False, repr=False, factory=itertools.count)

    def sign(self, path: str, operation: str, lifetime: float) -> str:
        """Return the path with a query that allows "read" or "write" for `lifetime` seconds; each one is different."""
        expires = f"{self.clock() + lifetime:.3f}"
        query = f"Credential=emulator%2Fv4%3A{next(self._serial)}&Scope=object+{operation}&Expires={expires}"
        text = f"{path}?{query}"
        return f"{text}{_SIGNATURE_PARAMETER}{self._signature(text)}"

    def verify(self, raw_path: str, operation: str) -> None:
        """Check the path exactly as it was received. Raises ApiError for a wrong signature or an expired one."""
        text, _, signature = raw_path.partition(_SIGNATURE_PARAMETER)
        # as bytes: compare_digest raises TypeError for text that is not ASCII
        valid = hmac.compare_digest(self._signature(text).encode(), signature.encode("utf-8", "replace"))
        # Expires is the last parameter before the signature, and the pattern needs a delimiter after it
        expires = _EXPIRES.search(text + "&")
        if not valid or expires is None or f"&Scope=object+{operation}&" not in text:
            raise ApiError(ErrorReason.SIGNATURE, "The calculated signature does not match the one provided.")
        if self.clock() >= float(expires[1]):
            raise ApiError(ErrorReason.EXPIRED, "The provided token has expired.")

    def _signature(self, text: str) -> str:
        digest = hmac.digest(self._secret, text.encode("utf-8", "replace"), hashlib.sha256)
        return base64.b64encode(digest).decode().replace("/", "%2F")
