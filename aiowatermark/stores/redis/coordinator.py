"""What replicas on one Redis share: rate, permits, leases, bells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from attrs import define, field

from ...errors import StoreError
from ...jobs import Record
from ...wire import Delivery
from .keys import LEASES
from .membership import Replica
from .rate_limiter import Rate
from .records import fetched
from .scripts import REAP, RING
from .semaphore import Permits

_BODY = 64 << 10
_REAPED = 100

Rung = Callable[[str, Delivery], object]


@define(eq=False)
class _Account:
    """What an account's jobs share."""

    permits: Permits
    rate: Rate

    def wanted(self, waits: bool) -> None:  # noqa: FBT001
        self.permits.wanted(waits)

    def renew(self) -> None:
        self.permits.renew()

    def stop(self) -> None:
        self.permits.stop()
        self.rate.stop()


@define(eq=False)
class RedisCommons:
    """The `Commons` of one RedisStore."""

    replica: Replica
    _accounts: dict[str, _Account] = field(factory=dict, init=False)
    _rung: list[Rung] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        """Take what the others say to where it belongs."""
        self.replica.news.heard.update(
            ring=self._heard_ring, want=self._heard_want, free=self._heard_free, hold=self._heard_hold
        )

    @property
    def lease(self) -> float:
        """Seconds after which a replica that says nothing counts as dead."""
        return self.replica.lease

    def _account(self, account: str) -> _Account:
        known = self._accounts.get(name := self.replica.account(account))
        if known is None:
            known = _Account(Permits(self.replica, name), Rate(self.replica, name))
            self._accounts[name] = self.replica.pooled[name] = known
        return known

    # rate and permits

    async def turn(self, account: str, rate: float | None, *, new: bool) -> None:
        """Wait for one's turn among all replicas."""
        await self._account(account).rate.turn(rate, new=new)

    async def hold(self, account: str, seconds: float) -> None:
        """Let no replica begin for so long."""
        await self._account(account).rate.hold(seconds)

    def permit(self, account: str, limit: int) -> AbstractAsyncContextManager[None]:
        """One of `limit` permits to submit."""
        return self._account(account).permits.permit(limit)

    # leases

    async def claim(self, record: Record) -> bool:
        """Take the lease of a job that is to be watched here."""
        *_, answer = await self.replica.wire.ask(*self.replica.tracked(record))
        return self.replica.took(record, answer)

    async def release(self, record: Record) -> None:
        """Nobody has to watch this job any more."""
        await self._drop(record, "released")

    async def leave(self, record: Record) -> None:
        """Another replica may take this job over at once."""
        await self._drop(record, "left")

    async def _drop(self, record: Record, how: str) -> None:
        self.replica.held.pop(record.key, None)
        call = self.replica.leases.dropped(record, how)
        try:
            await self.replica.wire.ask(call)
        except StoreError:
            self.replica.debts.later.append(call)

    async def orphans(self, account: str) -> AsyncIterator[Record]:
        """Unfinished records whose replica died or left; each is leased to us when it is given."""
        replica, name = self.replica, self.replica.account(account)
        with suppress(StoreError):
            while asyncio.get_running_loop().time() >= replica.quiet_until:
                keys = replica.names.account(name, *LEASES)
                ((fresh, jobs),) = await replica.wire.ask(REAP(keys, replica.me, replica.lease_ms, _REAPED))
                replica.seen(name, fresh)
                async for record in self._taken(name, [job.decode() for job in jobs]):
                    yield record
                if len(jobs) < _REAPED:
                    return

    async def _taken(self, account: str, jobs: list[str]) -> AsyncIterator[Record]:
        """The records of jobs that are ours now; those that nobody fetches are left to others."""
        replica, waiting = self.replica, dict.fromkeys(jobs, "left")
        try:
            for job, record in zip(jobs, await fetched(replica.wire, replica.names, jobs), strict=True):
                if record is None or record.snapshot.status.terminal:
                    waiting[job] = "released" if record is None else "ended"
                    continue
                del waiting[job]
                replica.held[record.key] = record
                yield record
        finally:
            replica.debts.later += [replica.leases.drop(account, job, how) for job, how in waiting.items()]

    # bells

    async def ring(self, callback: str, delivery: Delivery) -> bool:
        """Tell all other replicas of a delivery; whether there is a job of that callback."""
        body = delivery.body if len(delivery.body) <= _BODY else b""
        said = self.replica.news.said("ring", callback, delivery.content_type[:200], body=body)
        key = self.replica.names.callback(callback)
        (known,) = await self.replica.wire.ask(RING((key,), self.replica.names.channel, said))
        return bool(known)

    def listen(self, rung: Rung) -> Callable[[], None]:
        """Have `rung` called for what other replicas ring; gives what ends it."""
        self._rung.append(rung)
        self.replica.news.listen()
        return lambda: self._rung.remove(rung) if rung in self._rung else None

    def _heard_ring(self, words: list[Any], body: bytes) -> None:
        callback, content_type = words
        for rung in list(self._rung):
            rung(callback, Delivery(body, content_type))

    def _heard_want(self, words: list[Any], _: bytes) -> None:
        if (known := self._accounts.get(words[0])) is not None:
            known.permits.wanted(waits=True)

    def _heard_free(self, words: list[Any], _: bytes) -> None:
        for name in words or list(self._accounts):
            if (known := self._accounts.get(name)) is not None:
                known.permits.freed()

    def _heard_hold(self, words: list[Any], _: bytes) -> None:
        if (known := self._accounts.get(words[0])) is not None:
            known.rate.held(float(words[1]))
