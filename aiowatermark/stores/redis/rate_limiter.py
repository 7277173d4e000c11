"""One rate of requests for an account, shared by all replicas."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

from attrs import define, field

from ...errors import StoreError
from .membership import Replica
from .scripts import HOLD, RESERVE


@define(eq=False)
class Rate:
    """The account's row. Whoever asks while a question is under way shares the next one: one round trip for many.

    While Redis is lost the row is this replica's own.
    """

    replica: Replica
    account: str
    _rate: float = field(default=1.0, init=False)
    _next: float = field(default=0.0, init=False)
    _until: float = field(default=0.0, init=False)
    _row: list[asyncio.Future[float]] = field(factory=list, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def turn(self, rate: float | None, *, new: bool) -> None:
        """Wait for one's turn; raises StoreError for what is new where Redis is lost."""
        begin = 0.0
        if self.replica.wire.lost:
            if new:
                raise self.replica.wire.gone()
            begin = self._own(rate)
        elif rate:
            begin = await self._shared(rate, new=new)
        await _rest(max(begin, self._until))

    async def hold(self, seconds: float) -> None:
        """Let nobody begin for so long."""
        self.held(seconds)
        replica = self.replica
        said = replica.news.said("hold", self.account, seconds)
        keys = replica.names.account(self.account, "next")
        with suppress(StoreError):
            await replica.wire.ask(HOLD(keys, math.ceil(seconds * 1e6), replica.names.channel, said))

    def held(self, seconds: float) -> None:
        """Somebody was told to wait so long."""
        self._until = max(self._until, _now() + seconds)

    def stop(self) -> None:
        """Let nobody wait any longer."""
        if self._task is not None:
            self._task.cancel()
        self._fail(StoreError("the store was closed"))

    async def _shared(self, rate: float, *, new: bool) -> float:
        place: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._row.append(place)
        self._rate = rate
        if self._task is None:
            self._task = asyncio.create_task(self._reserve())
        try:
            return await place
        except StoreError:
            if new:
                raise
            return self._own(rate)

    def _own(self, rate: float | None) -> float:
        begin = max(_now(), self._next, self._until)
        self._next = begin + (1 / rate if rate else 0.0)
        return begin

    async def _reserve(self) -> None:
        try:
            while self._row:
                row, self._row = self._row, []
                try:
                    await self._places([place for place in row if not place.done()])
                except StoreError as error:
                    self._row = row + self._row
                    self._fail(error)
        finally:
            self._task = None

    async def _places(self, row: list[asyncio.Future[float]]) -> None:
        """Reserve a place for each."""
        pause = 1 / self._rate
        keys = self.replica.names.account(self.account, "next")
        (first,) = await self.replica.wire.ask(RESERVE(keys, math.ceil(pause * 1e6), len(row)))
        begin = _now() + first / 1e6
        for at, place in enumerate(row):
            if not place.done():
                place.set_result(begin + at * pause)

    def _fail(self, error: StoreError) -> None:
        row, self._row = self._row, []
        for place in row:
            if not place.done():
                place.set_exception(StoreError(error.message))


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _rest(until: float) -> None:
    if (pause := until - _now()) > 0:
        await asyncio.sleep(pause)
