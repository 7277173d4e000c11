"""What every API of the emulator is: a name, routes, a key to be shown, and its own way of saying no."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.accounts import Account
from ..backend.jobs import JobService
from ..web.responses import ApiError, ApiResponse, ErrorReason
from ..web.routes import Route


@define
class EmulatedApi(ABC):
    """One API. `refusals` is the table from the reason of a refusal to the HTTP status and the code in the body."""

    jobs: JobService

    name: ClassVar[str]
    paired: ClassVar[bool] = False  # an app key with a secret, and not one key
    lifetime: ClassVar[float] = 3600.0  # of a result's link, in seconds
    error_codes: ClassVar[Mapping[ErrorReason, tuple[int, int]]]

    @abstractmethod
    def routes(self) -> tuple[Route, ...]:
        """Its paths."""

    @abstractmethod
    def credential(self, request: web.Request) -> str | None:
        """What stands where the key belongs."""

    @abstractmethod
    def error_body(self, code: int, sentence: str) -> object:
        """The body of an error, to be sent as JSON."""

    @property
    def account(self) -> Account:
        """The customer's account here."""
        return self.jobs.accounts[self.name]

    @property
    def expected(self) -> str:
        """What has to stand where the key belongs."""
        key = self.account.key
        return key if isinstance(key, str) else ":".join(key)

    def provider_of(self, request: web.Request) -> str | None:  # noqa: ARG002 - all of its paths are its own
        """Its own name."""
        return self.name

    def authenticate(self, request: web.Request) -> None:
        """Raises Refusal unless the right key is shown."""
        shown = self.credential(request) or ""
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), self.expected.encode()):
            raise ApiError(ErrorReason.KEY, "The API key is missing or wrong.")

    def error_response(self, request: web.Request, refusal: ApiError) -> ApiResponse:  # noqa: ARG002 - the shape is always the same
        """The refusal by the table, in this API's shape."""
        status, code = self.error_codes[refusal.reason]
        return ApiResponse.json(self.error_body(code, refusal.message), status)

    def server_error(self, status: int) -> ApiResponse:
        """An error with this HTTP status, in this API's shape."""
        return ApiResponse.json(self.error_body(status, f"HTTP {status}"), status)


def bearer_token(request: web.Request) -> str | None:
    """The token of `Authorization: Bearer`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
