"""Conversations: a provider says what it wants asked, the transport asks, and what is safe to repeat is repeated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from attrs import define

from ..errors import ProviderUnavailable, RateLimited, WatermarkError
from ..jobs import Snapshot
from ..provider import Dialogue, Provider
from ..refusals import refusal
from ..transport import Transport
from ..transport.bodies import Progress
from ..transport.delays import delays, obeyed
from ..wire import Request, Response
from .shares import Pace

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

SUBMIT_ANSWER = 180.0
LOOK_ANSWER = 30.0
"""Seconds an answer may take once the request is sent."""


@define(eq=False)
class Turn:
    """One conversation: its deadline on the loop's clock, how often to try, and what to do on the way."""

    until: float
    tries: int = 6
    answer: float = LOOK_ANSWER
    before_paid: Callable[[], Awaitable[None]] | None = None
    noted: Callable[[Snapshot], Awaitable[None]] | None = None
    progress: Progress | None = None
    paid: bool = False


@define(eq=False)
class Talker:
    """Talks with one provider, at the account's rate."""

    provider: Provider
    transport: Transport
    pace: Pace

    async def converse(self, flow: Dialogue[T], turn: Turn) -> T:
        """Drive a provider's dialogue: perform what it asks for, note what it says on the way."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Snapshot):
                    if turn.noted is not None:
                        await turn.noted(step)
                    step = next(flow)
                else:
                    step = flow.send(await self._exchange(step, turn))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    async def _exchange(self, request: Request, turn: Turn) -> Response:
        """An answer for the flow; what is safe to repeat is repeated, as often and as long as the turn allows."""
        if not request.repeatable and turn.before_paid is not None:
            await turn.before_paid()
        pauses = delays(turn.tries)
        while True:
            if not request.signed:
                await self.pace.turn(new=not request.repeatable, until=turn.until)
            turn.paid = not request.repeatable
            reply: Response | None = None
            try:
                # what is paid for is waited for, even where an upload has used the deadline up
                wait = min(turn.answer, max(turn.until - now(), 1.0)) if request.repeatable else turn.answer
                reply = await self.transport.perform(request, timeout=wait, progress=turn.progress)
                problem = await self._passing(request, reply)
            except ProviderUnavailable as error:
                if error.sent and not request.repeatable:
                    raise
                problem = error
            if reply is not None and problem is None:
                return reply
            turn.paid = False  # refused for haste, or never left
            if not await _rested(problem, next(pauses, None), turn.until):
                if reply is None and problem is not None:
                    raise problem
                return cast("Response", reply)  # the flow says what it means

    async def _passing(self, request: Request, reply: Response) -> WatermarkError | None:
        """What is wrong with an answer that the same request may not meet again: haste, or for free calls a fault."""
        if reply.status == 429:
            problem = self.provider.problem(reply)
            if isinstance(problem, RateLimited):
                await self.pace.hold(problem.retry_after or 0.0)
                return problem
        if reply.status >= 500 and request.repeatable:
            return refusal(ProviderUnavailable, f"{self.provider.title} is out of order", reply)
        return None


async def _rested(problem: WatermarkError | None, pause: float | None, until: float) -> bool:
    """Wait before another try; False where there is none left, or no time for it."""
    if pause is None:
        return False
    pause = obeyed(pause, getattr(problem, "retry_after", None))
    if now() + pause >= until:
        return False
    log.info("trying again in %.1f s: %s", pause, problem)
    await asyncio.sleep(pause)
    return True


def now() -> float:
    """The loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
