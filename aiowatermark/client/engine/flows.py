"""Conversations: a provider says what it wants asked, the transport asks, and what is safe to repeat is repeated."""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

from attrs import define

from ...errors import ProviderUnavailable, RateLimited, WatermarkError
from ...http_errors import refusal
from ...jobs import Snapshot
from ...provider import Dialogue, Provider
from ...transport import Transport
from ...transport.body import Progress
from ...transport.retry import obeyed, pause
from ...wire import Request, Response
from .sharing import Pace

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
    progress: Progress | None = None

    def wait(self, *, paid: bool) -> float:
        """Seconds for an answer; what is paid for is waited for, even where an upload has used the deadline up."""
        return self.answer if paid else min(self.answer, max(self.until - now(), 1.0))

    async def before_paid(self) -> None:
        """The next request is paid for."""

    def paying(self, *, left: bool) -> None:
        """Whether a paid request is on its way; it is not when it was refused for haste, or never left."""

    async def noted(self, snapshot: Snapshot) -> None:
        """The provider's dialogue has found something out on its way."""


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
        paid = not request.repeatable
        if paid:
            await turn.before_paid()
        tried = 0
        while True:
            if not request.signed:
                await self.pace.turn(new=paid, until=turn.until)
            turn.paying(left=paid)
            try:
                reply = await self.transport.perform(request, timeout=turn.wait(paid=paid), progress=turn.progress)
                if (problem := await self._passing(request, reply) if reply.status >= 429 else None) is None:
                    return reply
            except ProviderUnavailable as error:
                if error.sent and paid:
                    raise
                reply, problem = None, error
            turn.paying(left=False)
            tried += 1
            if not await _rested(problem, pause(tried, turn.tries), turn.until):
                if reply is None:
                    raise problem
                return reply  # the flow says what it means

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


async def _rested(problem: WatermarkError | None, rest: float | None, until: float) -> bool:
    """Wait before another try; False where there is none left, or no time for it."""
    if rest is None:
        return False
    rest = obeyed(rest, getattr(problem, "retry_after", None))
    if now() + rest >= until:
        return False
    log.info("trying again in %.1f s: %s", rest, problem)
    await asyncio.sleep(rest)
    return True


def now() -> float:
    """The loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
