"""Memory that replicas share: jobs, limits and bells on one Redis (or Valkey)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from typing import Any, Self

from attrs import define, field

from ...errors import InvalidInput, StoreError
from ...jobs import Record, Status
from ...media.base import redacted
from .connection import Wire
from .coordinator import RedisCommons
from .keys import Call, Names, digest
from .membership import Replica
from .records import fetched, news, nonce, opening, read
from .scripts import CREATED, FORGET, PAGE

log = logging.getLogger("aiowatermark")

_PAGE = 5000
_FETCHED = 200
_STALE = 3600.0


def _above_zero(_: Any, attribute: Any, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidInput(f"{attribute.name} is a number of seconds above 0, not {value!r}")


def _plain(_: Any, attribute: Any, value: str) -> None:
    if not value or not value.isprintable() or set(value) & set("{} "):
        raise InvalidInput(f"{attribute.name} is a word without spaces and braces")


@define(eq=False)
class RedisStore:
    """Remembers in Redis 7 or Valkey, for any number of replicas. `url`: redis://, rediss:// or unix://.

    Finished records are kept `keep` seconds, unfinished ones until they end or are forgotten. A replica that says
    nothing for `lease` seconds counts as dead: others may watch its jobs. What Redis forgets is forgotten: have it
    keep an append-only file; jobs under way are put back by whoever watches them.

    Every script touches keys of one hash tag, so the layout fits a cluster: a job has its tag, an account has one
    for its index of unfinished jobs, its leases and limits. The index is written before the record and cleared after
    its end, each idempotently: a crash in between leaves an entry that leads nowhere and is passed over.

    When Redis goes away: `open` raises StoreError, and so does a `put` that comes before money is spent; other news
    are kept and written when it is back. Raises InvalidInput for a URL that is none, StoreError on entering where
    nothing answers there or redis-py is missing (`pip install 'aiowatermark[redis]'`).
    """

    url: str = field(repr=lambda url: redacted(url).partition("?")[0])
    prefix: str = field(default="aiowatermark", kw_only=True, validator=_plain)
    keep: float = field(default=30 * 86400.0, kw_only=True, validator=_above_zero)
    lease: float = field(default=5.0, kw_only=True, validator=_above_zero)
    _wire: Wire = field(init=False, repr=False)
    _names: Names = field(init=False, repr=False)
    _replica: Replica = field(init=False, repr=False)
    _commons: RedisCommons = field(init=False, repr=False)
    _open: int = field(default=0, init=False, repr=False)
    _turning: asyncio.Lock = field(factory=asyncio.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Look at the address; nothing is connected yet."""
        self._wire = Wire(self.url)
        self._names = Names(self.prefix)
        self._begin({})

    def _begin(self, unwritten: dict[str, Record]) -> None:
        self._replica = Replica(self._wire, self._names, self.keep, self.lease)
        self._replica.debts.news.update(unwritten)
        self._commons = RedisCommons(self._replica)

    async def __aenter__(self) -> Self:
        """Connect; several clients of one loop may open it."""
        async with self._turning:
            if not self._open:
                await self._wire.open()
                self._replica.start()
            self._open += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        """With the last who leaves: write what is left to write, leave the jobs that go on to others, hang up."""
        async with self._turning:
            self._open -= 1
            if self._open:
                return
            try:
                await self._replica.close()
            finally:
                await self._wire.close()
                self._begin(self._replica.debts.news)

    @property
    def commons(self) -> RedisCommons:
        """What replicas share beside records; another one whenever the store is opened anew."""
        return self._commons

    @property
    def trips(self) -> int:
        """Round trips so far."""
        return self._wire.trips

    async def open(self, record: Record) -> Record | None:
        """Remember a new record, leased to this replica, in one round trip; gives the one that has the key already.

        Raises StoreError where Redis does not answer: then nothing was opened, or what was is taken back.
        """
        replica, once = self._replica, nonce()
        if self._wire.lost:
            raise self._wire.gone()
        if record.key in replica.debts.undone:
            await replica.debts.undo(record.key)
        write = opening(self._names, record, once)
        try:
            _, leased, opened, *_ = await self._wire.ask(
                *replica.tracked(record), write, *replica.leases.mapped(record)
            )
        except BaseException:
            replica.debts.undone[record.key] = (record, once)
            raise
        ours = replica.took(record, leased)
        return None if opened else await self._known(record, ours=ours)

    async def _known(self, mine: Record, *, ours: bool) -> Record | None:
        """The record that was there already; what was prepared for a new one is taken back."""
        replica, known = self._replica, await self.get(mine.key)
        if mine.callback is not None and (known is None or known.callback != mine.callback):
            replica.debts.later.append(Call("DEL", (self._names.callback(mine.callback),)))
        if known is None:  # it went this very moment
            return await self.open(mine)
        if known.snapshot.status.terminal:
            replica.held.pop(mine.key, None)
            replica.debts.later.append(replica.leases.dropped(mine, "ended"))
        elif ours:
            replica.held[mine.key] = known
        return known

    async def put(self, record: Record) -> Record:
        """Remember news, unless what is remembered is newer or terminal, in one round trip.

        Raises StoreError where Redis does not answer and nothing was paid yet; other news are kept until it does.
        """
        write = news(self._names, record, self.keep)
        try:
            (written,) = await self._wire.ask(write)
            known = record if written else await self.get(record.key) or record
        except StoreError as error:
            if _unpaid(record) or not self._open:
                raise
            if not self._wire.lost:
                log.warning("news of job %s are kept until they can be written: %s", record.key, error)
            return self._replica.kept(record)
        except asyncio.CancelledError:
            if not _unpaid(record):
                self._replica.kept(record)
            raise
        if written == CREATED and not record.snapshot.status.terminal:
            await self._commons.claim(record)  # nobody opened it: now it can be found
        self._replica.wrote(known)
        return known

    async def get(self, key: str) -> Record | None:
        """The record of that key."""
        if (news_of := self._replica.debts.news.get(key)) is not None:
            return news_of
        if self._wire.lost and (held := self._replica.held.get(key)) is not None:
            return held
        return await self._read(digest(key))

    async def by_callback(self, callback: str) -> Record | None:
        """The record whose callback key has that hash."""
        (job,) = await self._wire.ask(Call("GET", (self._names.callback(callback),)))
        return None if job is None else await self._read(job.decode())

    async def _read(self, job: str) -> Record | None:
        record, parts, _ = self._names.job(job)
        data, content = await self._wire.ask(Call("HGET", (record,), ("record",)), Call("HGETALL", (parts,)))
        return read(data, content)

    async def unfinished(self) -> AsyncIterator[Record]:
        """All records that are not terminal, of all accounts, oldest first; one that cannot be read is logged."""
        index = iter(sorted(await self._index()))
        while some := list(islice(index, _FETCHED)):
            records = await fetched(self._wire, self._names, [job for _, _, job in some])
            for (created, account, job), record in zip(some, records, strict=True):
                now_known = self._replica.debts.news.get(record.key, record) if record is not None else None
                if now_known is None or now_known.snapshot.status.terminal:
                    self._tidy(created, account, job, gone=now_known is None)
                else:
                    yield now_known

    async def _index(self) -> Sequence[tuple[float, str, str]]:
        (accounts,) = await self._wire.ask(Call("SMEMBERS", (self._names.accounts,)))
        entries: dict[tuple[str, str], float] = {}
        for account in (name.decode() for name in accounts):
            keys, cursor = self._names.account(account, "unfinished"), b"0"
            while True:
                ((cursor, page),) = await self._wire.ask(PAGE(keys, cursor, _PAGE))
                entries.update(((account, job.decode()), float(at)) for job, at in zip(*[iter(page)] * 2, strict=True))
                if cursor == b"0":
                    break
        return [(created, account, job) for (account, job), created in entries.items()]

    def _tidy(self, created: float, account: str, job: str, *, gone: bool) -> None:
        """Put away an index entry that leads nowhere; not one whose record is just being written."""
        if not gone or created < time.time() - _STALE:
            self._replica.debts.later.append(self._replica.leases.drop(account, job, "ended", f"{created:.6f}"))

    async def forget(self, key: str) -> None:
        """Remove a record. While Redis is lost, one of ours is removed when it is back."""
        replica = self._replica
        record = replica.held.get(key) or await self.get(key)
        if record is None:
            return
        replica.debts.news.pop(key, None)
        replica.held.pop(key, None)
        replica.debts.undone[key] = (record, "")
        try:
            await self._wire.ask(FORGET(self._names.job(digest(key)), ""), *replica.leases.gone(record))
        except StoreError:
            return  # with the next heartbeat that gets through
        replica.debts.undone.pop(key, None)


def _unpaid(record: Record) -> bool:
    """Whether money is still to be spent: until then a store that does not answer stops everything."""
    snapshot = record.snapshot
    return snapshot.status is Status.UPLOADING or (snapshot.status is Status.IN_DOUBT and snapshot.reason is None)
