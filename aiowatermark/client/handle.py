"""What one holds of a job, and awaits as often as one likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Protocol, Self

from ..errors import WatermarkError
from ..events import AutoResetEvent
from ..jobs import Record, Snapshot
from ..results import Result
from ..wire import Delivery


class Cancellable(Protocol):
    """A job's task, or its place in the queue for one."""

    def cancel(self) -> object:
        """End it."""


class JobHandle:
    """A job on its way. Awaiting it gives its Result; cancelling an awaiter leaves the job.

    `key` is the SDK's or your own name for it, `task_id` the provider's, `token` resumes it in another process.
    `sent` is whether money may have been spent: the paid request is on its way, or was.
    """

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_answered",
        "_changed",
        "_result",
        "deadline",
        "may_be_paid",
        "pending_delivery",
        "record",
        "task",
        "waiter_count",
        "wakeup",
    )

    def __init__(self, record: Record, *, sent: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.record = record
        self.task: Cancellable | None = None
        self.deadline = 0.0
        self.wakeup = AutoResetEvent()
        self.pending_delivery: Delivery | None = None
        self.waiter_count = 0
        self.may_be_paid = sent
        self._result: asyncio.Future[Result] = loop.create_future()
        self._answered = sent  # what is only watched, the provider has already
        self._accepted: asyncio.Future[None] | None = None
        self._changed: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        """The key and where the job stands."""
        return f"<JobHandle {self.record.provider} {self.key} {self.snapshot.status}>"

    @property
    def key(self) -> str:
        """The job's name in the store."""
        return self.record.key

    @property
    def snapshot(self) -> Snapshot:
        """The latest observation."""
        return self.record.snapshot

    @property
    def task_id(self) -> str | None:
        """The provider's own id, once it gave one."""
        return self.record.snapshot.task_id

    @property
    def token(self) -> str:
        """A text that resumes the job in any process: `client.resume(token)`. It holds no secret."""
        return self.record.token

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._result.done()

    def when_done(self, told: Callable[[Result | BaseException], object]) -> None:
        """Have `told` called with the result or the error, once, on the loop."""
        self._result.add_done_callback(lambda done: told(done.exception() or done.result()))

    def __await__(self) -> Generator[Any, None, Result]:
        """Wait for the result; see `result`."""
        return self._wait().__await__()

    async def result(self, timeout: float | None = None) -> Result:  # noqa: ASYNC109
        """Wait for the result, at most `timeout` seconds: then TimeoutError, and the job goes on.

        Raises JobFailed, DeadlineExceeded, or what else became of the job.
        """
        if timeout is None:
            return await self._wait()
        async with asyncio.timeout(timeout):
            return await self._wait()

    async def _wait(self) -> Result:
        try:
            return await asyncio.shield(self._result)
        except WatermarkError as error:
            raise error.with_traceback(None) from None

    async def updates(self) -> AsyncIterator[Snapshot]:
        """The snapshots as they come, the latest where several came at once; ends after the terminal one.

        Raises what ended the job where no terminal snapshot did, as DeadlineExceeded.
        """
        seen: Snapshot | None = None
        while True:
            snapshot = self.snapshot
            if snapshot is not seen:
                seen = snapshot
                yield snapshot
            elif self._result.done():
                await self._wait()
                return
            else:
                await self._next_change()
            if snapshot.status.terminal:
                return

    async def _next_change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def on_delivery(self, delivery: Delivery) -> None:
        """The provider called back: look now."""
        self.pending_delivery = delivery
        self.wakeup.set()

    def update(self, record: Record) -> None:
        """Take a newer record over and tell who watches."""
        self.record = record
        self._notify()

    def _notify(self) -> None:
        news, self._changed = self._changed, None
        if news is not None and not news.done():
            news.set_result(None)

    async def wait_accepted(self, drain: float) -> Self:
        """Wait for the provider's word. Cancelled: what was not sent is called off, what was is answered first."""
        self.waiter_count += 1
        try:
            if not self._answered:
                await asyncio.shield(self._accepted_future())
        except asyncio.CancelledError:
            await self._cancel_if_unsent(drain)
            raise
        finally:
            self.waiter_count -= 1
        return self

    async def wait_done(self, drain: float) -> Result:
        """Wait for the result; cancelled before the provider's word, as `submitted`."""
        self.waiter_count += 1
        try:
            return await asyncio.shield(self._result)
        except asyncio.CancelledError:
            await self._cancel_if_unsent(drain)
            raise
        except WatermarkError as error:
            raise error.with_traceback(None) from None
        finally:
            self.waiter_count -= 1

    async def _cancel_if_unsent(self, drain: float) -> None:
        if self.may_be_paid:
            await self.wait_answered(drain)
        elif not self._answered and self.task is not None and self.waiter_count == 1:
            self.task.cancel()

    async def wait_answered(self, seconds: float) -> None:
        """Wait for the paid request's answer, but not longer than `seconds`; raises nothing of the job's."""
        if not self._answered:
            await asyncio.wait([self._accepted_future()], timeout=seconds)

    def _accepted_future(self) -> asyncio.Future[None]:
        """The provider's word, for those who wait for it: most jobs are only waited for to their end."""
        if self._accepted is None:
            self._accepted = asyncio.get_running_loop().create_future()
        return self._accepted

    def mark_accepted(self) -> None:
        """The provider has the job: `submit` may return."""
        self._answered = True
        word, self._accepted = self._accepted, None
        if word is not None and not word.done():
            word.set_result(None)

    def set_result(self, result: Result) -> None:
        """There is a result."""
        if not self._result.done():
            self._result.set_result(result)
        self.mark_accepted()
        self._notify()

    def set_exception(self, error: BaseException) -> None:
        """There will be no result here."""
        if not self._result.done():
            self._result.set_exception(error)
            self._result.exception()  # nobody has to await it: it was logged
        self._answered = True
        word, self._accepted = self._accepted, None
        if word is not None and not word.done():
            word.set_exception(error)
            word.exception()
        self._notify()
