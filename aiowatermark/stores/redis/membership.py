"""One replica: the jobs it watches, its heartbeat, and what Redis is still to be told."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from contextlib import suppress
from itertools import islice
from typing import Protocol

from attrs import define, field

from ...errors import StoreError
from ...jobs import Record
from .backlog import Debts, chunks
from .connection import Wire
from .keys import PERMITS, Call, Names, digest
from .leases import Leases
from .pubsub import News
from .records import news
from .scripts import BEAT, QUIT

log = logging.getLogger("aiowatermark")

_REMINDED = 50


class Pooled(Protocol):
    """What an account shares beside its leases."""

    def wanted(self, waits: bool) -> None:  # noqa: FBT001
        """Whether another replica waits for a permit."""

    def renew(self) -> None:
        """Redis has forgotten this replica, or declared it dead."""

    def stop(self) -> None:
        """Let nobody wait any longer."""


@define(eq=False)
class Replica:
    """Lives as long as its store is open. `held` are the jobs leased to it; `quiet_until` it declares nobody dead."""

    wire: Wire
    names: Names
    keep: float
    lease: float
    me: str = field(factory=lambda: uuid.uuid4().hex, init=False)
    leases: Leases = field(init=False)
    debts: Debts = field(init=False)
    news: News = field(init=False)
    held: dict[str, Record] = field(factory=dict, init=False)
    pooled: dict[str, Pooled] = field(factory=dict, init=False)
    quiet_until: float = field(default=0.0, init=False)
    _accounts: dict[str, str] = field(factory=dict, init=False)
    _known: set[str] = field(factory=set, init=False)
    _amnesia: bool = field(default=False, init=False)
    _pulse: asyncio.Task[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Have a name among the others, and an ear for them."""
        self.leases = Leases(self.names, self.me, self.lease_ms)
        self.debts = Debts(self.wire, self.leases, self.keep)
        self.news = News(self.wire, self.names.channel, self.me)

    @property
    def lease_ms(self) -> int:
        """How long a lease lasts, in Redis's unit."""
        return max(1, int(self.lease * 1000))

    def account(self, account: str) -> str:
        """An account's digest; from now on the heartbeat is for it too."""
        if account not in self._accounts:
            self._accounts[account] = digest(account)
        return self._accounts[account]

    # leases

    def tracked(self, record: Record) -> tuple[Call, ...]:
        """What leases a job to this replica and puts it into the index, where it can be found after a crash."""
        self.account(record.account)
        return self.leases.track(record)

    def took(self, record: Record, answer: list[int]) -> bool:
        """Whether a lease came of it."""
        self.seen(self.account(record.account), answer[0])
        if answer[1]:
            self.held[record.key] = record
        return bool(answer[1])

    def seen(self, account: str, fresh: int) -> None:
        """Redis said whether it knew this replica; where it should have, it is told everything once more."""
        if fresh and account in self._known:
            self._amnesia = True
            self.wire.bell.ring()
        self._known.add(account)

    def wrote(self, record: Record) -> None:
        """This stands in Redis now."""
        if record.snapshot.status.terminal:
            self.held.pop(record.key, None)
        elif record.key in self.held:
            self.held[record.key] = record
        self.debts.wrote(record)

    def kept(self, record: Record) -> Record:
        """The latest news of a job, until they can be written; what is known where that is newer."""
        known = self.debts.news.get(record.key) or self.held.get(record.key)
        if known is not None and (known.snapshot.status.terminal or known.version >= record.version):
            return known
        self.account(record.account)  # whose heartbeat writes it
        self.debts.news[record.key] = record
        if record.key in self.held:
            self.held[record.key] = record
        return record

    # its heartbeat

    def start(self) -> None:
        """Begin to live."""
        self._pulse = asyncio.create_task(self._run())

    async def _run(self) -> None:
        failed = 0
        while True:
            pause = min(0.05 * 2 ** min(failed, 5), 1.0) if self.wire.lost else self.lease / 3
            await self.wire.bell.wait(pause * random.uniform(0.7, 1.0))  # noqa: S311 - not all replicas at once
            try:
                await self.beat()
                failed = 0
            except StoreError:
                failed += 1
            except Exception:
                log.exception("a heartbeat of the store failed")

    async def beat(self) -> None:
        """Say that this replica lives, for all its jobs at once; tell Redis what it missed."""
        accounts = list(self._accounts.values())
        calls = [BEAT(self.names.account(account, *PERMITS), self.me, self.lease_ms) for account in accounts]
        calls = calls or [Call("PING", ())]
        was_lost = self.wire.lost
        answers = await self.debts.tidied(calls)
        for account, (fresh, waits) in zip(accounts, answers, strict=False):
            self.seen(account, fresh)
            if account in self.pooled:
                self.pooled[account].wanted(bool(waits))
        renew = was_lost or self._amnesia
        if self._amnesia:
            await self._remind()
        await self.debts.paid()
        self.wire.back()
        if was_lost:
            # after a break nobody has a lease: let the others beat before anybody is declared dead
            self.quiet_until = asyncio.get_running_loop().time() + self.lease
        for pooled in self.pooled.values() if renew else ():
            pooled.renew()

    async def _remind(self) -> None:
        """Redis lost its memory, or thought us dead: put back what is under way and still ours."""
        self._amnesia = False
        try:
            for records in chunks(list(self.held.values()), _REMINDED):
                calls = [(*self.tracked(record), *self.leases.mapped(record)) for record in records]
                again = [news(self.names, record, self.keep) for record in records]
                answers = iter(await self.wire.ask(*(call for some in calls for call in some), *again, probe=True))
                for record, some in zip(records, calls, strict=True):
                    _, (_, ours), *_ = islice(answers, len(some))
                    if not ours and self.held.get(record.key) is record:
                        del self.held[record.key]
        except BaseException:
            self._amnesia = True
            raise

    # its end

    async def close(self) -> None:
        """Write what is left to write, and leave the jobs that go on to others."""
        await self.news.stop()
        for pooled in self.pooled.values():
            pooled.stop()
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.cancel()
            with suppress(asyncio.CancelledError):
                await pulse
            with suppress(StoreError):
                if self._accounts or self.debts.later:
                    await self.beat()
                    await self.wire.ask(*self._farewell())
        for record in self.debts.news.values():
            log.warning("news of job %s could not be written to the store; its token is %s", record.key, record.token)

    def _farewell(self) -> list[Call]:
        said = self.news.said("free")
        keys = [self.names.account(account, *PERMITS, "held") for account in self._accounts.values()]
        return [QUIT(of, self.me, self.names.channel, said) for of in keys]
