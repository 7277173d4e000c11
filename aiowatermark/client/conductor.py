"""A job's life: its turn, its submission, its looks, its end. One task a job, one loop for all its awaiters."""

from __future__ import annotations

import asyncio
import logging

from attrs import define, field

from ..errors import (
    AuthenticationError,
    DeadlineExceeded,
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    ProviderUnavailable,
    Rejected,
    SubmissionInDoubt,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from ..jobs import Job, Porter, Record, Result, Snapshot, Status
from ..provider import Polling, Provider
from ..stores import JobStore
from ..transport.bodies import Progress
from .handle import JobHandle
from .talk import SUBMIT_ANSWER, Talker, Turn, now

log = logging.getLogger("aiowatermark")

# a look that says one of these twice in a row ends the wait: no patience mends them
_FINAL = (AuthenticationError, InsufficientCredits, Rejected, Unsupported)


@define(eq=False)
class Conductor:
    """Everything a job's life needs, shared by all jobs of a client."""

    provider: Provider
    talker: Talker
    store: JobStore
    polling: Polling
    submissions: asyncio.Semaphore
    in_flight: asyncio.Semaphore
    porter: Porter
    alive: dict[str, JobHandle] = field(factory=dict)

    def begin(self, record: Record, job: Job | None, deadline: float, progress: Progress | None = None) -> JobHandle:
        """Start a job's life, or join the one its key has already; without a job it is only watched."""
        if (alive := self.alive.get(record.key)) is not None:
            self.same(alive.record, record)
            return alive
        handle = self.alive[record.key] = JobHandle(record, sent=job is None)
        handle.task = asyncio.create_task(self.live(handle, job, deadline, progress))
        return handle

    async def close(self, drain: float) -> None:
        """Let paid requests on their way be answered, say the tokens of jobs that go on, end all lives."""
        handles = list(self.alive.values())
        await asyncio.gather(*(handle.answered(drain) for handle in handles if handle.sent))
        for handle in handles:
            if handle.sent and not handle.done():
                log.warning("job %s goes on without this client; resume it with %s", handle.key, handle.token)
        tasks = [handle.task for handle in handles if handle.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for handle in handles:
            handle.fail(_left(handle))  # a task that never ran told nobody

    async def live(self, handle: JobHandle, job: Job | None, deadline: float, progress: Progress | None) -> None:
        """A job from its turn to its end; whatever happens, the handle learns it."""
        try:
            async with self.in_flight:
                if job is not None:
                    async with self.submissions:
                        handle.until = now() + deadline
                        await self.submit(handle, job, progress)
                        job = progress = None  # a waiting job holds no media
                else:
                    handle.until = now() + deadline
                handle.accept()
                await self.watch(handle)
        except WatermarkError as error:
            handle.fail(error.about(provider=self.provider.name, key=handle.key, token=None))
        except asyncio.CancelledError:
            handle.fail(_left(handle))
            raise
        except Exception as error:
            log.exception("job %s broke", handle.key)
            handle.fail(error)
        finally:
            self.alive.pop(handle.key, None)

    # submitting

    async def submit(self, handle: JobHandle, job: Job, progress: Progress | None) -> None:
        """Write the job down, then send it; raises one of the three outcomes' errors, or returns accepted."""
        if (known := await self.store.open(handle.record)) is not None:
            self.same(known, handle.record)
            handle.note(known)
            if _unsettled(known):
                raise _in_doubt(handle, None)
            if known.snapshot.status is not Status.UPLOADING:
                return
        turn = Turn(
            handle.until,
            answer=SUBMIT_ANSWER,
            before_paid=lambda: self._pay(handle),
            noted=lambda snapshot: self.note(handle, snapshot),
            progress=progress,
        )
        try:
            snapshot = await self.talker.converse(self.provider.submit(job, None), turn)
        except (ProviderUnavailable, UnexpectedAnswer) as error:
            if turn.paid and getattr(error, "sent", True):
                raise _in_doubt(handle, error) from None
            await self.store.forget(handle.key)
            raise
        except Exception:
            await self.store.forget(handle.key)
            raise
        await self.note(handle, snapshot)

    async def _pay(self, handle: JobHandle) -> None:
        handle.sent = True
        await self.note(handle, Snapshot(handle.task_id, Status.IN_DOUBT))

    def same(self, known: Record, record: Record) -> None:
        """Raise InvalidInput where a used key is to name another job."""
        if known.fingerprint and known.fingerprint != record.fingerprint:
            msg = f"the key {known.key!r} belongs to another job: use a key of its own for this one"
            raise InvalidInput(msg)

    async def note(self, handle: JobHandle, snapshot: Snapshot) -> None:
        """The gate: a snapshot becomes the handle's and, where it matters after a crash, the store's."""
        before = handle.record
        record = before.advance(snapshot)
        if record is before:
            return
        if record.snapshot.status is not before.snapshot.status or record.snapshot.task_id != before.snapshot.task_id:
            stored = await self.store.put(record)
            record = stored if stored is record else stored.advance(snapshot)
        handle.note(record)
        if record.snapshot.task_id is not None and record.snapshot.status is not Status.IN_DOUBT:
            handle.accept()

    # waiting

    async def watch(self, handle: JobHandle) -> None:
        """Look until the job ends or its deadline passes; a failed look is only a reason for another."""
        if _unsettled(handle.record):
            raise _in_doubt(handle, None)
        delay, problem = self.polling.first, None
        while not handle.snapshot.status.terminal:
            left = handle.until - now()
            if left <= 0:
                raise _late(handle, problem)
            pause = self._pause(handle, delay, problem)
            await handle.bell.wait(min(pause, left))
            problem = await self.look(handle, problem)
            delay = self.polling.after(delay)
        self.settle(handle)

    def _pause(self, handle: JobHandle, delay: float, problem: WatermarkError | None) -> float:
        hint = getattr(problem, "retry_after", None) if problem is not None else handle.snapshot.retry_after
        return delay if hint is None else hint

    async def look(self, handle: JobHandle, before: WatermarkError | None) -> WatermarkError | None:
        """Ask once where the job stands; gives the problem of a look that told nothing."""
        handle.bell.take()
        turn = Turn(max(handle.until, now() + 1.0), tries=1)
        try:
            snapshot = await self.talker.converse(self.provider.query(handle.record), turn)
        except _FINAL as error:
            if before is not None and type(before) is type(error):
                raise error.about(provider=None, key=None, token=handle.token) from None
            problem: WatermarkError = error
        except WatermarkError as error:
            problem = error
        else:
            await self.note(handle, snapshot)
            return None
        log.info("a look at job %s told nothing: %s", handle.key, problem)
        return problem

    def settle(self, handle: JobHandle) -> None:
        """Give the handle what its terminal snapshot means."""
        snapshot = handle.snapshot
        if snapshot.status is Status.SUCCEEDED:
            handle.finish(Result(handle.key, self.provider.name, snapshot, self.porter))
            return
        error = JobFailed(f"the job failed: {snapshot.reason or 'no reason was given'}")
        error.snapshot = snapshot
        handle.fail(error.about(provider=self.provider.name, key=handle.key, token=handle.token))


def _unsettled(record: Record) -> bool:
    """Whether nobody knows if the provider has this job, and nothing can be asked."""
    return record.snapshot.status is Status.IN_DOUBT and record.snapshot.task_id is None


def _in_doubt(handle: JobHandle, cause: WatermarkError | None) -> SubmissionInDoubt:
    why = f" ({cause.message})" if cause is not None else ""
    error = SubmissionInDoubt(
        f"the paid request left and no usable answer came back{why}: it may have been taken, and is not sent again",
        answer=cause.answer if cause is not None else None,
    )
    return error.about(provider=handle.record.provider, key=handle.key, token=handle.token)


def _late(handle: JobHandle, problem: WatermarkError | None) -> DeadlineExceeded:
    last = f"; the last look said: {problem}" if problem is not None else ""
    error = DeadlineExceeded(f"the job did not end in time; resume it with its token{last}")
    return error.about(provider=handle.record.provider, key=handle.key, token=handle.token)


def _left(handle: JobHandle) -> WatermarkError:
    """What the awaiters of a job learn when its client goes first."""
    if not handle.sent:
        error = WatermarkError("the submission was called off before anything was sent")
    else:
        error = WatermarkError("the client was closed while the job went on: resume it with its token")
        error.token = handle.token
    return error.about(provider=handle.record.provider, key=handle.key, token=None)
