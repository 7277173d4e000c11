"""Provider: one vendor's API as its capabilities, its request flows and the meaning of its answers.

Theory of operation. A provider performs no I/O. Each call (`submit`, `query`, `credits`) is a flow: a generator that
describes the next request and leaves sending it to the runner (`client/engine/flows.py`):

    the flow                             the runner
    yields Request(repeatable=True)      sends it, again after a failure, and sends the Response into the flow
    yields Request(repeatable=False)     the paid request: records IN_DOUBT first, sends it, and sends it again only
                                         if it provably did not reach the provider or was refused unprocessed
    yields Snapshot                      records it, then resumes the flow with None
    returns a value                      ends: a Snapshot for `Flow`, Credits for `Exchange[Credits]`
    raises WatermarkError                ends: what the answer means

Steps that follow one another are thus written one below the other, and a test drives a flow with prepared responses
and no event loop (`tests/support/flows.py`).

Invariants: a `submit` flow yields exactly one request that is not repeatable; `query` and `credits` flows yield none.
A task id that is known before the paid request is yielded as a Snapshot, so that it is persisted before that request.
An answer that is not understood is never a success: it raises UnexpectedAnswer, which leaves a submission in doubt and
lets a query be repeated. A status that is not known means the job is still running.

Concurrency: a provider is a frozen value. All state of a flow is in the generator, so one provider serves any number
of flows at the same time. A flow has one runner, which never sends into it from two tasks.
Cancellation and failure: an error of the transport is not thrown into the flow; the runner closes it. A flow holds no
resources, so there is nothing to clean up, and `close` ends it at its `yield`.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from functools import cached_property
from math import inf
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

from attrs import Attribute, Factory, asdict, field, fields, frozen

from .capabilities import Capabilities
from .environment import BASE_URL_VARIABLE, optional_variable, required_variable
from .errors import InvalidInput, Unsupported, WatermarkError
from .http_errors import error_class_for, is_redirect, redirect_error, refusal
from .introspection import documented
from .jobs import Job, Record, Session, Snapshot
from .media.base import Media
from .options import create_options, unknown_options
from .redaction import is_loopback, protect_secrets, redact_url
from .wire import Delivery, Request, Response

T = TypeVar("T")
_SECRET = "aiowatermark.secret"  # noqa: S105 - a name
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL_TEXT = re.compile(r"[!-~]+")
"""Printable ASCII: a host in another script must be given in its IDNA form, which is what is connected to."""
# none of the APIs is below it; clients of other APIs want it, so it is often copied along
_COPIED_VERSION = re.compile(r"/v1/*\Z")
Exchange: TypeAlias = Generator[Request | Snapshot, Response, T]
"""A flow that returns a T; see the head of this module."""
Flow: TypeAlias = Exchange[Snapshot]
"""A flow that returns the job's state."""


def _validate_pause(_: Any, attribute: Attribute[float], value: Any) -> None:
    lowest = 1.0 if attribute.name == "factor" else 0.001  # a pause of 0 would be a loop without one
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value < inf:
        raise InvalidInput(f"polling: {attribute.name} must be a number of at least {lowest:g}, not {value!r}")


@documented
@frozen
class Polling:
    """Schedule of the queries for a job's state: the pauses grow from `first` to `ceiling`.

    Args:
        first: seconds from the submission to the first query.
        factor: what each further pause is multiplied by.
        ceiling: seconds of the longest pause.

    Raises InvalidInput for a pause of less than a millisecond, or a factor below 1.
    """

    first: float = field(default=1.0, validator=_validate_pause)
    factor: float = field(default=1.2, validator=_validate_pause)
    ceiling: float = field(default=15.0, validator=_validate_pause)

    def after(self, delay: float) -> float:
        """Return the pause, in seconds, that follows a pause of `delay` seconds."""
        return min(delay * self.factor, self.ceiling)


CALLBACK_POLLING = Polling(30.0, 1.5, 120.0)
"""Schedule while a callback is expected: polling continues, because a callback may be lost."""


@documented
@frozen
class Credits:
    """An account's balance, in the provider's credits.

    Args:
        available: the credits that are left.
        used: the credits spent; None if the provider does not tell.
        limit: the credits of the account's plan; None if the provider does not tell.
    """

    available: float
    used: float | None = None
    limit: float | None = None


@frozen
class NoOptions:
    """Options of a provider that has none."""


def _validate_key(_: Any, attribute: Attribute[str], value: str) -> None:
    # the value is never shown: it may be a real key with a typing error
    if isinstance(value, str) and value.strip() and value != value.strip():
        extra = "a line break" if "\n" in value or "\r" in value else "spaces"
        raise InvalidInput(f"{attribute.name} begins or ends with {extra}: {attribute.name}=text.strip()")
    if isinstance(value, str) and len(value.splitlines()) > 1:
        raise InvalidInput(f"{attribute.name} has a line break in it: {attribute.name}=text.splitlines()[0]")
    if not isinstance(value, str) or not value.strip() or not value.isascii() or not value.isprintable():
        raise InvalidInput(
            f"{attribute.name} is empty or not a valid API key: pass the text shown in the provider's console"
        )


def _name_variables(error: InvalidInput, variables: Mapping[str, str]) -> InvalidInput:
    """Return the error for values of the environment: it names variables, and advises no Python for them."""
    text = error.message
    for name, variable in variables.items():
        text = re.sub(rf": {name}=text\..*", "", text)
        text = re.sub(rf"\b{name}\b", variable, text)
    return InvalidInput(text)


def api_key_field() -> Any:
    """Return an attrs field for a secret: required, validated and left out of the repr."""
    return field(repr=False, validator=_validate_key, metadata={_SECRET: True})


def _is_secret_header(name: str) -> bool:
    return any(word in name.lower() for word in ("auth", "key", "token", "secret", "cookie"))


def normalize_base_url(base_url: str, provider: Provider | type[Provider], setting: str = "base_url") -> str:
    """Return an origin, or an origin and the path of a gateway, as it is put before the paths of requests.

    `setting` is where the value was given. Raises InvalidInput that names it, the value and a valid one.
    """
    right = f"{setting} must be an absolute URL such as {provider.default_base_url} or http://127.0.0.1:8700"
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname or "", parts.port
    except AttributeError:
        raise InvalidInput(f"{right}, not {type(base_url).__name__}") from None
    except ValueError:  # what cannot be parsed is not shown: it may hold a password
        raise InvalidInput(f"{right}: host or port of the given one are not valid") from None
    if parts.scheme not in _DEFAULT_PORTS or not host or not _URL_TEXT.fullmatch(base_url.strip()):
        raise InvalidInput(f"{right}, not {redact_url(base_url)!r}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidInput(f"{right}, without user, password and query, not {redact_url(base_url)!r}")
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidInput(f"{setting} http://{host} would send the API key in clear text: use https://")
    path = _COPIED_VERSION.sub("", parts.path).rstrip("/")
    origins = [getattr(provider, name, "") for name in ("default_base_url", "CHINA")]
    vendor = next((origin for origin in origins if urlsplit(origin).hostname == host), None)
    if path and vendor:
        raise InvalidInput(f"{setting} must be {vendor}: the SDK adds the paths of the API, such as {path!r}")
    shown_port = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{shown_port}{path}"


def _base_url_setting(cls: type[Provider], settings: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the `base_url` of the environment if it is used; raises InvalidInput that names the variable."""
    base_url = None if "base_url" in settings else optional_variable(BASE_URL_VARIABLE)
    return {} if base_url is None else {"base_url": normalize_base_url(base_url, cls, BASE_URL_VARIABLE)}


def _validate_account(account: str | None) -> str:
    if account is None:
        return ""
    if not isinstance(account, str) or not account.strip() or len(account) > 200 or not account.isprintable():
        raise InvalidInput(f"account must be a printable text of 1 to 200 characters, not {account!r}")
    return account


@documented
@frozen(kw_only=True, slots=False)  # slots=False: cached_property needs a __dict__
class Provider(ABC):
    """One account at one vendor's API: capabilities, request flows and the meaning of answers.

    A subclass sets `name` (as in `provider_class(name)`), `display_name` (for texts), `default_base_url`, `env` (the
    environment variable of each key field), `capabilities` and `Options`, and implements `headers`, `submit` and, if
    the API has them, `query`, `credits`, `parse_callback` and `refinement`.

    Args:
        base_url: the origin of the API, https unless it is on loopback; the default is `default_base_url`. A trailing
            slash and a trailing /v1 are removed; another path is accepted for a gateway of your own only.
        polling: the schedule of queries; the default suits the provider's usual processing time.
        requests_per_second: the limit for submissions and queries together; None: no limit is documented.
        account: a stable name for the account, by which jobs in a store are matched, so that they are found again after
            the API key was changed; the default is a digest of the credentials.

    Raises InvalidInput for an invalid key, base_url or account.
    """

    name: ClassVar[str]
    display_name: ClassVar[str]
    default_base_url: ClassVar[str]
    env: ClassVar[Mapping[str, str]]
    capabilities: ClassVar[Capabilities]
    Options: ClassVar[type[Any]] = NoOptions

    # `default=Factory(...)` and not the decorator form, so that type checkers see that there is a default
    base_url: str = field(default=Factory(lambda self: self.default_base_url, takes_self=True))
    polling: Polling = Polling()
    requests_per_second: float | None = None
    account: str = field(default=None, converter=_validate_account, repr=False)

    def __attrs_post_init__(self) -> None:
        """Name the account after its credentials unless it was given a name, and keep these out of every text."""
        # not a converter: it needs the class, and mypy does not know converters that are given the instance
        object.__setattr__(self, "base_url", normalize_base_url(self.base_url, self))
        if not self.account:
            object.__setattr__(self, "account", self._credentials_digest())
        keys = [getattr(self, each.name) for each in fields(type(self)) if _SECRET in each.metadata]
        sent = [value.rpartition(" ")[2] for name, value in self.headers.items() if _is_secret_header(name)]
        protect_secrets(self, [*keys, *sent], [self.name, self.display_name, __name__.partition(".")[0]])

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: the API key would go to where the pickle goes."""
        raise TypeError(
            f"{type(self).__name__} holds an API key and is not pickled: build it where it is used, for example with "
            f"{type(self).__name__}.from_env()"
        )

    def __copy__(self) -> Self:
        """Return the provider itself: it does not change."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the provider itself: it does not change."""
        return self

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """Return the provider with its keys from the environment variables in `env`.

        The variable AIOWATERMARK_BASE_URL, if it is set, is the `base_url`, so that a program can be tried on the
        emulator unchanged. `settings` are arguments of the constructor and take precedence over the environment.
        Raises InvalidInput that names a variable that is missing or not valid.
        """
        purpose = f"your {cls.display_name} key"
        keys: dict[str, Any] = {
            name: required_variable(variable, purpose=purpose) for name, variable in cls.env.items()
        }
        try:
            return cls(**{**keys, **_base_url_setting(cls, settings), **settings})
        except InvalidInput as error:
            variables = {name: variable for name, variable in cls.env.items() if name not in settings}
            raise _name_variables(error, variables) from None

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """Headers that identify the account; they are sent to the origin of `base_url` only."""

    @abstractmethod
    def submit(self, job: Job, callback_url: str | None) -> Flow:
        """Submit a job; the one request that is not `repeatable` is the paid one.

        `callback_url` is a URL for the provider to call when the job ends, None if no callback is wanted.
        """

    def start(self, record: Record) -> Flow:
        """Start a job that was uploaded before the paid request, and whose paid request was lost: send that one.

        `query` reports such a job as UPLOADING. Raises a WatermarkError if the record does not suffice for it.
        """
        raise Unsupported(f"{self.display_name} has no call to start the job {record.key!r}: submit it again")
        yield  # makes this function a generator

    def query(self, record: Record) -> Flow:  # noqa: ARG002 - used by subclasses
        """Query the state of a job; raises Unsupported if the API has no such call."""
        raise Unsupported(f"{self.display_name} has no call to query a job: its answer to the submission is the result")
        yield  # makes this function a generator

    def route(self, job: Job) -> str | None:  # noqa: ARG002
        """Return what the record of a job keeps for its queries: the path they go below; None for the usual one."""
        return None

    def polling_for(self, record: Record) -> Polling:  # noqa: ARG002
        """Return the schedule of the queries of a job: `polling`, unless jobs of its route take longer or shorter."""
        return self.polling

    def answer_is_result(self, record: Record) -> bool:  # noqa: ARG002
        """Whether the answer to the submission is the result itself, which no query gives again."""
        return False

    def image_price(self, options: Mapping[str, Any]) -> float | None:  # noqa: ARG002
        """Return the documented price of an image with these options, in credits; None if there is none."""
        return None

    def credits(self) -> Exchange[Credits]:
        """Query the account's balance; raises Unsupported if the API has no such call."""
        raise Unsupported(f"{self.display_name} documents no call for its credits")
        yield  # makes this function a generator

    def parse_callback(self, delivery: Delivery, record: Record) -> Snapshot | None:  # noqa: ARG002
        """Return what a callback reports of this job, or None if it reports nothing of it.

        While the job's task id is unknown, the callback must name one. Callbacks are not signed, so the caller
        confirms the snapshot with a query unless the user chose to trust callbacks.
        """
        return None

    def refinement(self, media: Media, session: Session, brush: Media, options: Mapping[str, Any]) -> Job:  # noqa: ARG002
        """Return the job that also removes what `brush` marks from a result; raises Unsupported if there is none.

        `media` is the result to refine, `session` its session, `options` those of `submit`.
        """
        raise Unsupported(f"{self.display_name} cannot refine a result: submit it again, with a mask if it accepts one")

    def capabilities_for(self, job: Job) -> Capabilities:  # noqa: ARG002
        """Return the capabilities that apply to this job."""
        return self.capabilities

    @property
    def default_account(self) -> str:
        """The account's name if `account` is not given."""
        return self._credentials_digest()

    def _credentials_digest(self) -> str:
        """A text that differs for every account and base URL and does not reveal the key."""
        text = "\0".join((self.name, self.base_url, *self.headers.values()))
        return f"{self.name}-{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"

    def resolve_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the provider's options with defaults added; raises InvalidInput for unknown names or wrong values."""
        if not options:
            return self._default_options
        known = {attribute.name for attribute in fields(self.Options)}
        if unknown := options.keys() - known:
            raise InvalidInput(unknown_options(self.display_name, unknown, known), provider=self.name)
        return self._create_options(options)

    def _create_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return asdict(create_options(self.Options, options, self.display_name), recurse=False)
        except InvalidInput as error:
            error.provider = self.name
            raise

    @cached_property
    def _default_options(self) -> Mapping[str, Any]:
        return MappingProxyType(self._create_options({}))

    def check(self, reply: Response) -> dict[str, Any]:
        """Return the answer's JSON object; raises the error that `problem` finds, or UnexpectedAnswer."""
        if (error := self.problem(reply)) is not None:
            raise error
        return reply.json()

    def problem(self, reply: Response) -> WatermarkError | None:
        """Return the error an answer means, or None if it is a success.

        By the HTTP status here; override it where a success status does not mean success.
        """
        if 200 <= reply.status < 300:
            return None
        if is_redirect(reply):
            return redirect_error(self.display_name, reply)
        return refusal(self._kind(reply), self.display_name, reply)

    def _kind(self, reply: Response) -> type[WatermarkError]:
        """Return the class of error a refusal means; override it where a status has a meaning of its own."""
        return error_class_for(reply)
