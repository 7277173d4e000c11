"""Redis commands as values, and the names of the keys they touch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from attrs import field, frozen

from ...errors import InvalidInput

LEASE_KEYS = ("replicas", "held", "holders", "unfinished")
"""The account keys of the lease scripts, in the order of their KEYS."""
SLOT_KEYS = ("replicas", "permits", "wanting")
"""The account keys of the slot scripts, in the order of their KEYS."""

_NO_OPTIONS: Mapping[str, Any] = {}


@frozen
class Script:
    """A Lua script and the SHA-1 digest by which a server caches it."""

    text: str = field(repr=False)
    sha: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Compute the digest as Redis does."""
        sha = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - Redis uses SHA-1 here
        object.__setattr__(self, "sha", sha)

    def __call__(self, keys: tuple[str, ...], *args: Any) -> Command:
        """Return the command that runs the script with these KEYS, all of one hash slot, and ARGV."""
        return Command(self, keys, args)


@frozen
class Command:
    """A Redis command, or a script with its keys and arguments. Running it twice must be harmless."""

    name: Script | str
    keys: tuple[str, ...]
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = _NO_OPTIONS
    """What redis-py must know of the command to read its reply."""

    def encode(self, *, with_text: bool = False) -> tuple[Any, ...]:
        """Return the words to send; `with_text` sends a script as text, for a server that has not cached it."""
        if isinstance(self.name, str):
            return (self.name, *self.keys, *self.args)
        name, script = ("EVAL", self.name.text) if with_text else ("EVALSHA", self.name.sha)
        return (name, script, len(self.keys), *self.keys, *self.args)


def digest(text: str) -> str:
    """Return a caller's text as a part of a key name: of fixed length, without braces, revealing nothing."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


DEFAULT_PREFIX = "aiowatermark"


def validate_prefix(_: Any, attribute: Any, value: str) -> None:
    """Raise InvalidInput for a prefix that cannot begin every key: braces would change the hash tags of the keys."""
    if not value or not value.isprintable() or set(value) & set("{} "):
        raise InvalidInput(f"{attribute.name} must be printable text without spaces and braces, not {value!r}")


class JobKeys(NamedTuple):
    """The keys of one job, in the order of the KEYS of the record scripts."""

    record: str
    """The record as JSON, with its version and nonces."""
    parts: str
    """The media of the result."""
    cancelled: str
    """The nonce of a creation that was cancelled."""


@frozen
class RedisKeys:
    """Key names. The keys that one script touches share a hash tag (`{…}`), so that a cluster has them in one slot.

    A job has a tag for its record and the media of its result. An account has a tag for its replicas, leases, index of
    unfinished jobs, submit slots and rate limit. A callback has a key of its own.
    """

    prefix: str

    def job(self, job: str) -> JobKeys:
        """Return a job's keys by the digest of its key."""
        name = f"{{{self.prefix}:job:{job}}}"
        return JobKeys(name, f"{name}:parts", f"{name}:off")

    def callback(self, callback: str) -> str:
        """Return the key that maps a callback hash to the digest of its job's key."""
        return f"{{{self.prefix}:callback:{digest(callback)}}}"

    def task(self, account: str, task_id: str) -> str:
        """Return the key that maps an account's task to the digest of its job's key."""
        return f"{{{self.prefix}:task:{digest(f'{account} {task_id}')}}}"

    def account(self, account: str, *suffixes: str) -> tuple[str, ...]:
        """Return the keys of an account (given as a digest) that end in `suffixes`."""
        return tuple(f"{{{self.prefix}:account:{account}}}:{suffix}" for suffix in suffixes)

    @property
    def accounts(self) -> str:
        """The set of the digests of all accounts."""
        return f"{{{self.prefix}}}:accounts"

    @property
    def secret(self) -> str:
        """What the keys of callbacks are signed with."""
        return f"{{{self.prefix}}}:secret"

    @property
    def channel(self) -> str:
        """The pub/sub channel of all replicas."""
        return f"{{{self.prefix}}}:news"

    @property
    def server(self) -> tuple[str, str]:
        """The run id of the server on which these data were last used, and the key that exists during a quiet time."""
        return f"{{{self.prefix}}}:server", f"{{{self.prefix}}}:quiet"


def validate_seconds(_: Any, attribute: Any, value: float) -> None:
    """Raise InvalidInput for what is not a number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidInput(f"{attribute.name} must be a number of seconds above 0, not {value!r}")
