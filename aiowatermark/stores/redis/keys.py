"""What is said to Redis, and the names of the keys it touches."""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import field, frozen


@frozen
class Script:
    """A Lua script and the digest under which a server remembers it."""

    text: str = field(repr=False)
    sha: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Digest the text as Redis does."""
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode()).hexdigest())  # noqa: S324 - Redis's own name

    def __call__(self, keys: tuple[str, ...], *args: Any) -> Command:
        """The script with its keys, all of one hash slot, and its arguments."""
        return Command(self, keys, args)


@frozen
class Command:
    """A command, or a script with its keys and arguments. Asking twice does no harm."""

    name: Script | str
    keys: tuple[str, ...]
    args: tuple[Any, ...] = ()

    def encode(self, *, whole: bool = False) -> tuple[Any, ...]:
        """As Redis is told; `whole`: with the script's text, for a server that does not know it."""
        if isinstance(self.name, str):
            return (self.name, *self.keys, *self.args)
        name, script = ("EVAL", self.name.text) if whole else ("EVALSHA", self.name.sha)
        return (name, script, len(self.keys), *self.keys, *self.args)


def digest(text: str) -> str:
    """A user's text fit for a key's name: of one length, without braces, telling nothing."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@frozen
class RedisKeys:
    """Key names. What one script touches shares a hash tag, so that every layout fits a cluster.

    A job has its own tag; its record and the media inside its answer are keys of it. An account has one tag too:
    the index of its unfinished jobs, the leases, the permits and the rate. A callback has a key of its own.
    """

    prefix: str

    def job(self, job: str) -> tuple[str, str, str]:
        """A job's record, its media, and for a minute the opening that was called off."""
        name = f"{{{self.prefix}:job:{job}}}"
        return name, f"{name}:parts", f"{name}:off"

    def callback(self, callback: str) -> str:
        """Which job a callback is of."""
        return f"{{{self.prefix}:callback:{digest(callback)}}}"

    def account(self, account: str, *parts: str) -> tuple[str, ...]:
        """An account's keys, by their last word."""
        return tuple(f"{{{self.prefix}:account:{account}}}:{part}" for part in parts)

    @property
    def accounts(self) -> str:
        """All accounts there are."""
        return f"{{{self.prefix}}}:accounts"

    @property
    def channel(self) -> str:
        """Where replicas tell each other."""
        return f"{{{self.prefix}}}:news"


LEASE_KEYS = ("replicas", "held", "holders", "unfinished")
SLOT_KEYS = ("replicas", "permits", "wanting")
"""An account's keys, in the order in which the scripts of leases and of permits take them."""
