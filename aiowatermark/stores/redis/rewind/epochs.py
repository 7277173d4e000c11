"""Epochs: a client of redis-py with its pool of connections for each state of the data, which a rewind replaces.

Every connection of an epoch has led to the same server and the same history of writes. The connection that finds
something else begins the next epoch and is given up; the connections of earlier epochs are closed, and none is made for
them any more. Two connections may notice the same rewind at once: the second one finds that its epoch is over.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field

from ..server.clients import ClientFactory, read_identity
from ..server.errors import ConnectionRefused
from .identity import ServerIdentity, rewind_reason

if TYPE_CHECKING:
    from redis.asyncio import Redis


@define(eq=False)
class EpochClients:
    """Makes the client of each epoch; calls `on_rewind(reason)` when one begins because of a rewind."""

    clients: ClientFactory
    on_rewind: Callable[[str], object]
    number: int = field(default=0, init=False)
    redis: Redis | None = field(default=None, init=False)
    identity: ServerIdentity | None = field(default=None, init=False)
    # those of earlier epochs whose connections may still be open
    _old: list[Redis] = field(factory=list, init=False)

    def open(self) -> None:
        """Begin an epoch that knows no server yet."""
        self.identity = None
        self._replace_client()

    async def begin(self, reason: str, identity: ServerIdentity) -> None:
        """Begin the epoch after a rewind of the server `identity`."""
        self.identity = identity
        self._replace_client()
        self.on_rewind(reason)
        await self._close_old()

    async def disconnect(self) -> None:
        """Close the connections of this epoch: new ones resolve the address anew."""
        if self.redis is not None:
            with suppress(Exception):
                await self.redis.connection_pool.disconnect()

    async def close(self) -> None:
        """Close the connections of all epochs."""
        redis, self.redis = self.redis, None
        if redis is not None:
            self._old.append(redis)
        await self._close_old()
        await self.clients.close()

    def _replace_client(self) -> None:
        self.number += 1
        if self.redis is not None:
            self._old.append(self.redis)
        self.redis = self.clients.create(partial(self._initialise, self.number))

    async def _close_old(self) -> None:
        for redis in list(self._old):
            with suppress(Exception):  # a connection that is broken cannot always be closed properly
                await redis.aclose()
                await redis.connection_pool.disconnect()
            if redis in self._old:
                self._old.remove(redis)

    async def _initialise(self, number: int, connection: Any) -> None:
        """Log in on a new connection of an epoch and check which server it leads to, before its first command."""
        try:
            await connection.on_connect()
            # another connection may learn of a higher offset before this reply arrives
            highest = 0 if self.identity is None else self.identity.offset
            await self._check(number, await read_identity(connection), highest)
        except BaseException:
            # redis-py would put it into its pool as an initialised one, also if this task was cancelled
            await connection.disconnect(nowait=True)
            raise

    async def _check(self, number: int, identity: ServerIdentity, highest_offset: int) -> None:
        if number != self.number:
            raise ConnectionRefused("another connection has noticed that it was restarted or replaced")
        if not identity.primary:
            raise ConnectionRefused("it is a replica of another server and cannot write")
        if (reason := rewind_reason(self.identity, identity, highest_offset)) is not None:
            await self.begin(reason, identity)
            raise ConnectionRefused(reason)
        self.identity = identity if self.identity is None else self.identity.advance(identity)
