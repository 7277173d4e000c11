"""Runs a provider's flow: sends each request it yields, and repeats those that are safe to repeat.

A provider's flow (see `provider.py`) is a generator: it yields requests and is sent responses; it may yield a
snapshot on the way, which is recorded before the next request is sent, and it returns its result. What the runner
does with a request depends on one fact, whether it is paid (`not request.repeatable`), and on how the attempt ended:

    attempt ended with            paid request                       any other request
    nothing was sent              repeat                             repeat
    429 for the request rate      pause the account, repeat until    pause the account, repeat until
                                  the deadline                       the deadline
    connection lost after sending raise: it is in doubt              repeat
    5xx                           pass to the flow                   repeat
    any other response            pass to the flow                   pass to the flow

"Repeat" is bounded by the deadline and, but for a 429, by `max_attempts`; with one attempt, nothing is repeated. After
the last attempt the flow gets the response, or its caller the error. A paid request is therefore sent a second time
only when the first one provably had no effect.

The context of a flow hears from the transport when the headers of a paid request are written, and from here when an
attempt had no effect, so that the owner of a job always knows whether money may have been spent: a local failure of
any kind before the headers are written costs nothing. Cancelling a run closes the flow; nothing is repeated after
it.
"""

from __future__ import annotations

from itertools import count
from typing import TypeVar

from attrs import define, field

from ...clock import as_activity, now, pause
from ...errors import ProviderUnavailable, RateLimited, WatermarkError
from ...http_errors import error_from_response
from ...jobs import Snapshot
from ...media.base import ProgressCallback
from ...observation.events import REQUEST_REPEATED, write
from ...provider import Exchange, Provider
from ...transport import Transport
from ...transport.retry import MAX_HINT, MIN_HINT, bounded_hint, delay_before_attempt, respect_retry_after
from ...wire import Request, Response
from .sharing import RateLimiter

T = TypeVar("T")

SUBMIT_TIMEOUT = 180.0
QUERY_TIMEOUT = 30.0
"""Seconds an answer may take once the request is sent."""


@define(eq=False)
class FlowContext:
    """One run of a flow: its deadline on the SDK's clock, how often to try, and what to do on the way."""

    deadline: float
    max_attempts: int = 6
    answer_timeout: float = QUERY_TIMEOUT
    progress: ProgressCallback | None = None
    answer: Response | None = field(default=None, init=False)
    """The response to the last request of the flow; None if there was none."""

    def request_timeout(self, *, paid: bool) -> float:
        """Seconds to wait for a response; a paid request gets them all, even after an upload used up the deadline."""
        return self.answer_timeout if paid else min(self.answer_timeout, max(self.deadline - loop_time(), 1.0))

    async def before_attempt(self) -> None:
        """Called before each attempt of a paid request, when it has its turn."""

    def on_paid_request_sent(self) -> None:
        """Called by the transport immediately before the first byte of a paid request is written."""

    def on_attempt_without_effect(self) -> None:
        """Called when an attempt of a paid request had no effect: it was not sent, or was refused unprocessed."""

    async def before_pause(self, problem: WatermarkError) -> None:
        """Called after an attempt of a paid request had no effect, before the pause until the next one."""

    async def on_snapshot(self, snapshot: Snapshot) -> None:
        """Called with each snapshot the flow yields."""


@define(eq=False)
class FlowRunner:
    """Runs the flows of one provider account, within its request rate.

    `max_retry_after` is how many seconds a server may ask to wait; what exceeds it is cut.
    """

    provider: Provider
    transport: Transport
    rate_limiter: RateLimiter
    max_retry_after: float = MAX_HINT

    async def run(self, flow: Exchange[T], context: FlowContext) -> T:
        """Run `flow` to its end and return its result; raises what the flow or the transport raises."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Snapshot):
                    await context.on_snapshot(step)
                    step = next(flow)
                else:
                    context.answer = None
                    context.answer = await self._send_with_retries(step, context)
                    step = flow.send(context.answer)
        except StopIteration as end:
            result: T = end.value
            return result
        except WatermarkError as error:
            # of a response that the flow refused; an error of the transport is about no response
            if context.answer is not None and error.request_id is None:
                error.request_id = context.answer.request_id
            raise
        finally:
            flow.close()

    async def _send_with_retries(self, request: Request, context: FlowContext) -> Response:
        """The response to pass to the flow, after as many attempts as the table above allows."""
        paid = not request.repeatable
        for attempt in count(1):
            if not request.signed:
                await self.rate_limiter.acquire(is_submission=paid, until=context.deadline)
            if paid:
                await context.before_attempt()
            timeout = context.request_timeout(paid=paid)
            on_sent = context.on_paid_request_sent if paid else None
            try:
                response = await as_activity(
                    self.transport.perform(request, timeout=timeout, progress=context.progress, on_sent=on_sent)
                )
            except ProviderUnavailable as error:
                if (error.sent and paid) or not await self._wait_for_next_attempt(error, attempt, context, paid=paid):
                    raise
                continue
            problem = await self._retryable_error(request, response) if response.status >= 429 else None
            if problem is None or not await self._wait_for_next_attempt(problem, attempt, context, paid=paid):
                return response
        raise AssertionError("unreachable: the loop ends by return or raise")

    async def _retryable_error(self, request: Request, response: Response) -> WatermarkError | None:
        """The error of a response that the same request may not get again; None if repeating it would not help."""
        if response.status == 429:
            problem = self.provider.problem(response)
            if isinstance(problem, RateLimited):
                await self.rate_limiter.pause_for(bounded_hint(problem.retry_after, self.max_retry_after) or 0.0)
                return problem
        if response.status >= 500 and request.repeatable:
            return error_from_response(
                ProviderUnavailable, f"{self.provider.display_name} has a server error", response
            )
        return None

    async def _wait_for_next_attempt(
        self, problem: WatermarkError, attempt: int, context: FlowContext, *, paid: bool
    ) -> bool:
        """Sleep until the next attempt; False when there is none left, or no time for it before the deadline."""
        if paid:
            context.on_attempt_without_effect()
        # a refusal for haste says nothing against the request: a batch must outlast a provider that is busy
        endless = isinstance(problem, RateLimited) and context.max_attempts > 1
        delay = delay_before_attempt(attempt, None if endless else context.max_attempts)
        if delay is None:
            return False
        delay = respect_retry_after(delay, getattr(problem, "retry_after", None), self.max_retry_after)
        if endless:
            delay = max(delay, MIN_HINT)
        if loop_time() + delay >= context.deadline:
            return False
        if paid:
            await context.before_pause(problem)
        reason = {"seconds": round(delay, 1), "error": type(problem).__name__, "reason": str(problem)}
        write(REQUEST_REPEATED, reason)
        await pause(delay)
        return True


loop_time = now
"""The SDK's clock, in seconds."""
