"""Base of the emulated APIs: a name, routes, the credential that a request must carry, and the shape of errors."""

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
    """One API. `error_codes` maps the reason of an error to the HTTP status and the code in the body.

    The default repeats the HTTP status as the code; an API overrides what its documents define differently.
    """

    jobs: JobService

    name: ClassVar[str]
    has_secret: ClassVar[bool] = False  # the credential is an app key with a secret instead of one key
    lifetime: ClassVar[float] = 3600.0  # of the URL of a result, in seconds
    error_codes: ClassVar[Mapping[ErrorReason, tuple[int, int]]] = {
        ErrorReason.METHOD: (405, 405),
        ErrorReason.KEY: (401, 401),
        ErrorReason.PARAMETER: (400, 400),
        ErrorReason.TOO_LARGE: (413, 413),
        ErrorReason.UNKNOWN_TASK: (404, 404),
        ErrorReason.CREDITS: (402, 402),
        ErrorReason.INTERNAL: (500, 500),
    }

    @abstractmethod
    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""

    @abstractmethod
    def credential(self, request: web.Request) -> str | None:
        """Return the credential that the request carries; None if it carries none."""

    @abstractmethod
    def error_body(self, code: int, message: str) -> object:
        """Return the body of an error, to be sent as JSON."""

    @property
    def account(self) -> Account:
        """Return the customer's account with this provider."""
        return self.jobs.accounts[self.name]

    @property
    def expected_credential(self) -> str:
        """Return the credential that a request must carry."""
        key = self.account.key
        return key if isinstance(key, str) else ":".join(key)

    def provider_of(self, request: web.Request) -> str | None:  # noqa: ARG002 - the same for all of its routes
        """Return the name of this API."""
        return self.name

    def authenticate(self, request: web.Request) -> None:
        """Raise ApiError unless the request carries the right credential."""
        credential = self.credential(request) or ""
        # as bytes: compare_digest raises TypeError for text that is not ASCII
        if not hmac.compare_digest(credential.encode("utf-8", "replace"), self.expected_credential.encode()):
            raise ApiError(ErrorReason.KEY, "The API key is missing or wrong.")

    def error_response(self, request: web.Request, error: ApiError) -> ApiResponse:  # noqa: ARG002 - the shape does not depend on it
        """Return the error with its status and code, in the shape of this API."""
        status, code = self.error_codes[error.reason]
        return ApiResponse.json(self.error_body(code, error.message), status)

    def server_error(self, status: int) -> ApiResponse:
        """Return an error with this HTTP status, in the shape of this API."""
        return ApiResponse.json(self.error_body(status, f"HTTP {status}"), status)


def bearer_token(request: web.Request) -> str | None:
    """Return the token of `Authorization: Bearer`; None if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
