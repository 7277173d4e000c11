"""Conversations: a provider says what it wants asked, the transport asks, and what is safe to repeat is repeated."""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

from attrs import define

from ...errors import ProviderUnavailable, RateLimited, WatermarkError
from ...http_errors import error_from_response
from ...jobs import Snapshot
from ...media.base import ProgressCallback
from ...provider import Exchange, Provider
from ...transport import Transport
from ...transport.retry import delay_before_attempt, respect_retry_after
from ...wire import Request, Response
from .sharing import RateLimiter

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

SUBMIT_TIMEOUT = 180.0
QUERY_TIMEOUT = 30.0
"""Seconds an answer may take once the request is sent."""


@define(eq=False)
class FlowContext:
    """One conversation: its deadline on the loop's clock, how often to try, and what to do on the way."""

    deadline: float
    max_attempts: int = 6
    answer_timeout: float = QUERY_TIMEOUT
    progress: ProgressCallback | None = None

    def request_timeout(self, *, paid: bool) -> float:
        """Seconds for an answer; what is paid for is waited for, even where an upload has used the deadline up."""
        return self.answer_timeout if paid else min(self.answer_timeout, max(self.deadline - loop_time(), 1.0))

    async def before_paid_request(self) -> None:
        """The next request is paid for."""

    def set_paid_request_in_flight(self, *, left: bool) -> None:
        """Whether a paid request is on its way; it is not when it was refused for haste, or never left."""

    async def on_snapshot(self, snapshot: Snapshot) -> None:
        """The provider's dialogue has found something out on its way."""


@define(eq=False)
class FlowRunner:
    """Talks with one provider, at the account's rate."""

    provider: Provider
    transport: Transport
    rate_limiter: RateLimiter

    async def run(self, flow: Exchange[T], turn: FlowContext) -> T:
        """Drive a provider's dialogue: perform what it asks for, note what it says on the way."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Snapshot):
                    await turn.on_snapshot(step)
                    step = next(flow)
                else:
                    step = flow.send(await self._send(step, turn))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    async def _send(self, request: Request, turn: FlowContext) -> Response:
        """An answer for the flow; what is safe to repeat is repeated, as often and as long as the turn allows."""
        paid = not request.repeatable
        if paid:
            await turn.before_paid_request()
        tried = 0
        while True:
            if not request.signed:
                await self.rate_limiter.acquire(new=paid, until=turn.deadline)
            turn.set_paid_request_in_flight(left=paid)
            try:
                reply = await self.transport.perform(
                    request, timeout=turn.request_timeout(paid=paid), progress=turn.progress
                )
                if (problem := await self._retryable_error(request, reply) if reply.status >= 429 else None) is None:
                    return reply
            except ProviderUnavailable as error:
                if error.sent and paid:
                    raise
                reply, problem = None, error
            turn.set_paid_request_in_flight(left=False)
            tried += 1
            if not await _sleep_before_retry(problem, delay_before_attempt(tried, turn.max_attempts), turn.deadline):
                if reply is None:
                    raise problem
                return reply  # the flow says what it means

    async def _retryable_error(self, request: Request, reply: Response) -> WatermarkError | None:
        """What is wrong with an answer that the same request may not meet again: haste, or for free calls a fault."""
        if reply.status == 429:
            problem = self.provider.problem(reply)
            if isinstance(problem, RateLimited):
                await self.rate_limiter.pause_for(problem.retry_after or 0.0)
                return problem
        if reply.status >= 500 and request.repeatable:
            return error_from_response(ProviderUnavailable, f"{self.provider.display_name} is out of order", reply)
        return None


async def _sleep_before_retry(problem: WatermarkError | None, rest: float | None, until: float) -> bool:
    """Wait before another try; False where there is none left, or no time for it."""
    if rest is None:
        return False
    rest = respect_retry_after(rest, getattr(problem, "retry_after", None))
    if loop_time() + rest >= until:
        return False
    log.info("trying again in %.1f s: %s", rest, problem)
    await asyncio.sleep(rest)
    return True


def loop_time() -> float:
    """The loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
