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
from ...redaction import redact_url
from .connection import Connection
from .coordinator import RedisCoordinator
from .keys import Command, RedisKeys, digest
from .membership import Membership
from .records import create_command, decode, load_many, nonce, update_command
from .scripts import CREATED, FORGET, PAGE

log = logging.getLogger("aiowatermark")

_PAGE = 5000
_LOAD_BATCH = 200
_STALE_INDEX_AGE = 3600.0


def _validate_positive(_: Any, attribute: Any, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidInput(f"{attribute.name} is a number of seconds above 0, not {value!r}")


def _validate_prefix(_: Any, attribute: Any, value: str) -> None:
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

    url: str = field(repr=lambda url: redact_url(url).partition("?")[0])
    prefix: str = field(default="aiowatermark", kw_only=True, validator=_validate_prefix)
    keep: float = field(default=30 * 86400.0, kw_only=True, validator=_validate_positive)
    lease: float = field(default=5.0, kw_only=True, validator=_validate_positive)
    _connection: Connection = field(init=False, repr=False)
    _keys: RedisKeys = field(init=False, repr=False)
    _membership: Membership = field(init=False, repr=False)
    _coordinator: RedisCoordinator = field(init=False, repr=False)
    _users: int = field(default=0, init=False, repr=False)
    _opening: asyncio.Lock = field(factory=asyncio.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Look at the address; nothing is connected yet."""
        self._connection = Connection(self.url)
        self._keys = RedisKeys(self.prefix)
        self._build({})

    def _build(self, unwritten: dict[str, Record]) -> None:
        self._membership = Membership(self._connection, self._keys, self.keep, self.lease)
        self._membership.backlog.unwritten.update(unwritten)
        self._coordinator = RedisCoordinator(self._membership)

    async def __aenter__(self) -> Self:
        """Connect; several clients of one loop may open it."""
        async with self._opening:
            if not self._users:
                await self._connection.open()
                self._membership.start()
            self._users += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        """With the last who leaves: write what is left to write, leave the jobs that go on to others, hang up."""
        async with self._opening:
            self._users -= 1
            if self._users:
                return
            try:
                await self._membership.close()
            finally:
                await self._connection.close()
                self._build(self._membership.backlog.unwritten)

    @property
    def coordinator(self) -> RedisCoordinator:
        """What replicas share beside records; another one whenever the store is opened anew."""
        return self._coordinator

    @property
    def round_trips(self) -> int:
        """Round trips so far."""
        return self._connection.round_trips

    async def open(self, record: Record) -> Record | None:
        """Remember a new record, leased to this replica, in one round trip; gives the one that has the key already.

        Raises StoreError where Redis does not answer: then nothing was opened, or what was is taken back.
        """
        replica, once = self._membership, nonce()
        if self._connection.disconnected:
            raise self._connection.unavailable()
        if record.key in replica.backlog.to_delete:
            await replica.backlog.delete(record.key)
        write = create_command(self._keys, record, once)
        try:
            _, leased, opened, *_ = await self._connection.execute(
                *replica.lease_commands(record), write, *replica.leases.map_callback(record)
            )
        except BaseException:
            replica.backlog.to_delete[record.key] = (record, once)
            raise
        ours = replica.on_leased(record, leased)
        return None if opened else await self._load_existing(record, ours=ours)

    async def _load_existing(self, mine: Record, *, ours: bool) -> Record | None:
        """The record that was there already; what was prepared for a new one is taken back."""
        replica, known = self._membership, await self.get(mine.key)
        if mine.callback is not None and (known is None or known.callback != mine.callback):
            replica.backlog.deferred.append(Command("DEL", (self._keys.callback(mine.callback),)))
        if known is None:  # it went this very moment
            return await self.open(mine)
        if known.snapshot.status.terminal:
            replica.leased.pop(mine.key, None)
            replica.backlog.deferred.append(replica.leases.end_lease(mine, "ended"))
        elif ours:
            replica.leased[mine.key] = known
        return known

    async def put(self, record: Record) -> Record:
        """Remember news, unless what is remembered is newer or terminal, in one round trip.

        Raises StoreError where Redis does not answer and nothing was paid yet; other news are kept until it does.
        """
        write = update_command(self._keys, record, self.keep)
        try:
            (written,) = await self._connection.execute(write)
            known = record if written else await self.get(record.key) or record
        except StoreError as error:
            if _is_unpaid(record) or not self._users:
                raise
            if not self._connection.disconnected:
                log.warning("news of job %s are kept until they can be written: %s", record.key, error)
            return self._membership.defer(record)
        except asyncio.CancelledError:
            if not _is_unpaid(record):
                self._membership.defer(record)
            raise
        if written == CREATED and not record.snapshot.status.terminal:
            await self._coordinator.claim(record)  # nobody opened it: now it can be found
        self._membership.on_written(known)
        return known

    async def get(self, key: str) -> Record | None:
        """The record of that key."""
        if (news_of := self._membership.backlog.unwritten.get(key)) is not None:
            return news_of
        if self._connection.disconnected and (held := self._membership.leased.get(key)) is not None:
            return held
        return await self._load(digest(key))

    async def by_callback(self, callback: str) -> Record | None:
        """The record whose callback key has that hash."""
        (job,) = await self._connection.execute(Command("GET", (self._keys.callback(callback),)))
        return None if job is None else await self._load(job.decode())

    async def _load(self, job: str) -> Record | None:
        record, parts, _ = self._keys.job(job)
        data, content = await self._connection.execute(
            Command("HGET", (record,), ("record",)), Command("HGETALL", (parts,))
        )
        return decode(data, content)

    async def unfinished(self) -> AsyncIterator[Record]:
        """All records that are not terminal, of all accounts, oldest first; one that cannot be read is logged."""
        index = iter(sorted(await self._load_index()))
        while some := list(islice(index, _LOAD_BATCH)):
            records = await load_many(self._connection, self._keys, [job for _, _, job in some])
            for (created, account, job), record in zip(some, records, strict=True):
                now_known = self._membership.backlog.unwritten.get(record.key, record) if record is not None else None
                if now_known is None or now_known.snapshot.status.terminal:
                    self._remove_index_entry(created, account, job, gone=now_known is None)
                else:
                    yield now_known

    async def _load_index(self) -> Sequence[tuple[float, str, str]]:
        (accounts,) = await self._connection.execute(Command("SMEMBERS", (self._keys.accounts,)))
        entries: dict[tuple[str, str], float] = {}
        for account in (name.decode() for name in accounts):
            keys, cursor = self._keys.account(account, "unfinished"), b"0"
            while True:
                ((cursor, page),) = await self._connection.execute(PAGE(keys, cursor, _PAGE))
                entries.update(((account, job.decode()), float(at)) for job, at in zip(*[iter(page)] * 2, strict=True))
                if cursor == b"0":
                    break
        return [(created, account, job) for (account, job), created in entries.items()]

    def _remove_index_entry(self, created: float, account: str, job: str, *, gone: bool) -> None:
        """Put away an index entry that leads nowhere; not one whose record is just being written."""
        if not gone or created < time.time() - _STALE_INDEX_AGE:
            self._membership.backlog.deferred.append(
                self._membership.leases.end_lease_by_digest(account, job, "ended", f"{created:.6f}")
            )

    async def forget(self, key: str) -> None:
        """Remove a record. While Redis is lost, one of ours is removed when it is back."""
        replica = self._membership
        record = replica.leased.get(key) or await self.get(key)
        if record is None:
            return
        replica.backlog.unwritten.pop(key, None)
        replica.leased.pop(key, None)
        replica.backlog.to_delete[key] = (record, "")
        try:
            await self._connection.execute(FORGET(self._keys.job(digest(key)), ""), *replica.leases.remove(record))
        except StoreError:
            return  # with the next heartbeat that gets through
        replica.backlog.to_delete.pop(key, None)


def _is_unpaid(record: Record) -> bool:
    """Whether money is still to be spent: until then a store that does not answer stops everything."""
    snapshot = record.snapshot
    return snapshot.status is Status.UPLOADING or (snapshot.status is Status.IN_DOUBT and snapshot.reason is None)
