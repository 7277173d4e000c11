"""What a provider is: a dialogue of requests, a table of what it takes, and a table of what its answers mean."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from attrs import Attribute, Factory, asdict, field, fields, frozen

from .capabilities import Capabilities
from .environment import required_variable
from .errors import InvalidInput, Unsupported, WatermarkError
from .http_errors import STATUS_TEXT, error_class_for, error_from_response
from .jobs import Job, Record, Session, Snapshot
from .media.base import Media
from .redaction import is_loopback, redact_url
from .wire import Delivery, Request, Response, join_sorted

T = TypeVar("T")
Exchange: TypeAlias = Generator[Request | Snapshot, Response, T]
"""Yields requests and is sent their answers; may yield snapshots on the way; returns what it is about."""
Flow: TypeAlias = Exchange[Snapshot]


@frozen
class Polling:
    """When to look again, in seconds: first after `first`, then `factor` times longer each time, up to `ceiling`."""

    first: float = 1.0
    factor: float = 1.2
    ceiling: float = 15.0

    def after(self, delay: float) -> float:
        """The pause that follows a pause of `delay`."""
        return min(delay * self.factor, self.ceiling)


CALLBACK_POLLING = Polling(30.0, 1.5, 120.0)
"""The safety net while a callback is awaited: it never stops entirely."""


@frozen
class Credits:
    """What an account holds: `available`, and `used` and `limit` where the provider tells, in its own credits."""

    available: float
    used: float | None = None
    limit: float | None = None


@frozen
class NoOptions:
    """A provider without options of its own."""


def _validate_key(_: Any, attribute: Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not value.strip() or not value.isascii() or not value.isprintable():
        raise InvalidInput(f"{attribute.name} is empty or no API key: give the text the provider shows in its console")


def api_key_field() -> Any:
    """A field for a key: required, never shown."""
    return field(repr=False, validator=_validate_key)


def _validate_base_url(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
    except ValueError:
        raise InvalidInput("base_url is to be like https://host, and this is no link") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        raise InvalidInput(f"base_url is to be like https://host, without user or query, not {redact_url(base_url)}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise InvalidInput(f"base_url http://{parts.hostname} would send the API key in clear text: use https://")
    return base_url.rstrip("/")


@frozen(kw_only=True, slots=False)
class Provider(ABC):
    """One vendor's API: its account, its dialogues and its tables. Knows no I/O, no clock, no environment.

    `polling` is when to look at a job, by the provider's usual duration; `requests_per_second` bounds submits and
    polls together (None: no bound is documented).
    """

    name: ClassVar[str]
    display_name: ClassVar[str]
    default_base_url: ClassVar[str]
    env: ClassVar[Mapping[str, str]]
    capabilities: ClassVar[Capabilities]
    Options: ClassVar[type[Any]] = NoOptions

    # spelt so that type checkers see the default
    base_url: str = field(
        default=Factory(lambda self: self.default_base_url, takes_self=True), converter=_validate_base_url
    )
    polling: Polling = Polling()
    requests_per_second: float | None = None

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """The provider with its keys from the environment; raises InvalidInput that names what is missing."""
        purpose = f"your {cls.display_name} key"
        keys: dict[str, Any] = {
            name: required_variable(variable, purpose=purpose) for name, variable in cls.env.items()
        }
        return cls(**{**keys, **settings})

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """What identifies the account: sent to `base_url` and to nobody else."""

    @abstractmethod
    def submit(self, job: Job, callback_url: str | None) -> Flow:
        """Have a job done. The request that is not `repeatable` is the one that costs."""

    def query(self, record: Record) -> Flow:  # noqa: ARG002 - for those who can
        """Look where a job stands."""
        raise Unsupported(f"{self.display_name} has no call to ask for a job: its answer to the submit is the result")
        yield

    def credits(self) -> Exchange[Credits]:
        """Ask what the account holds."""
        raise Unsupported(f"{self.display_name} documents no call for its credits")
        yield

    def parse_callback(self, delivery: Delivery, record: Record) -> Snapshot | None:  # noqa: ARG002
        """What a callback says of this very job, or of the task it names where the job's id is not known yet.

        None where it says nothing. Believed only where the user chose to.
        """
        return None

    def refinement(self, media: Media, session: Session, brush: Media, options: Mapping[str, Any]) -> Job:  # noqa: ARG002
        """The job that takes more away from a result."""
        raise Unsupported(f"{self.display_name} cannot refine a result: submit it anew with a mask where it takes one")

    def capabilities_for(self, job: Job) -> Capabilities:  # noqa: ARG002
        """What this very job may be like."""
        return self.capabilities

    @cached_property
    def account(self) -> str:
        """What tells this account from others, without showing its key."""
        text = "\0".join((self.name, self.base_url, *self.headers.values()))
        return f"{self.name}-{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"

    def resolve_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The provider's options with their defaults; raises InvalidInput for one it has not or a wrong value."""
        if not options:
            return self._default_options
        known = {attribute.name for attribute in fields(self.Options)}
        if unknown := options.keys() - known:
            takes = f"it takes {join_sorted(known)}" if known else "it takes none"
            raise InvalidInput(f"{self.display_name} has no option {join_sorted(unknown)}: {takes}")
        return asdict(self.Options(**options), recurse=False)

    @cached_property
    def _default_options(self) -> Mapping[str, Any]:
        return MappingProxyType(asdict(self.Options(), recurse=False))

    def check(self, reply: Response) -> dict[str, Any]:
        """The answer's JSON object; raises what the answer means where it is a refusal."""
        if (error := self.problem(reply)) is not None:
            raise error
        return reply.json()

    def problem(self, reply: Response) -> WatermarkError | None:
        """What is wrong with an answer by its HTTP status, or None."""
        if 200 <= reply.status < 300:
            return None
        return error_from_response(
            self._kind(reply), f"{self.display_name} {STATUS_TEXT.get(reply.status, 'refused')}", reply
        )

    def _kind(self, reply: Response) -> type[WatermarkError]:
        return error_class_for(reply)
