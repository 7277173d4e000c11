"""What every API of the emulator is: a name, routes, a key to be shown, and its own way of saying no."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.accounts import Account
from ..backend.jobs import Desk
from ..web.responses import Answer, Reason, Refusal
from ..web.routes import Route


@define
class Dialect(ABC):
    """One API. `refusals` is the table from the reason of a refusal to the HTTP status and the code in the body."""

    desk: Desk

    name: ClassVar[str]
    paired: ClassVar[bool] = False  # an app key with a secret, and not one key
    lifetime: ClassVar[float] = 3600.0  # of a result's link, in seconds
    refusals: ClassVar[Mapping[Reason, tuple[int, int]]]

    @abstractmethod
    def routes(self) -> tuple[Route, ...]:
        """Its paths."""

    @abstractmethod
    def credential(self, request: web.Request) -> str | None:
        """What stands where the key belongs."""

    @abstractmethod
    def complaint(self, code: int, sentence: str) -> object:
        """The body of an error, to be sent as JSON."""

    @property
    def account(self) -> Account:
        """The customer's account here."""
        return self.desk.accounts[self.name]

    @property
    def expected(self) -> str:
        """What has to stand where the key belongs."""
        key = self.account.key
        return key if isinstance(key, str) else ":".join(key)

    def provider_of(self, request: web.Request) -> str | None:  # noqa: ARG002 - all of its paths are its own
        """Its own name."""
        return self.name

    def admit(self, request: web.Request) -> None:
        """Raises Refusal unless the right key is shown."""
        shown = self.credential(request) or ""
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), self.expected.encode()):
            raise Refusal(Reason.KEY, "The API key is missing or wrong.")

    def refused(self, request: web.Request, refusal: Refusal) -> Answer:  # noqa: ARG002 - the shape is always the same
        """The refusal by the table, in this API's shape."""
        status, code = self.refusals[refusal.reason]
        return Answer.json(self.complaint(code, refusal.sentence), status)

    def failing(self, status: int) -> Answer:
        """An error with this HTTP status, in this API's shape."""
        return Answer.json(self.complaint(status, f"HTTP {status}"), status)


def bearer(request: web.Request) -> str | None:
    """The token of `Authorization: Bearer`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
