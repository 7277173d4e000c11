"""The client: one provider, its limits, its memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ..errors import InvalidInput
from ..jobs import Job, Record
from ..media import Source, as_media
from ..provider import Credits, Polling, Provider
from ..results import Result
from ..stores import JobStore
from ..stores.memory import MemoryStore
from ..transport import Transport
from ..transport.body import Progress
from ..transport.http import HttpTransport
from .engine.engine import Conductor, Orders, assembled, checked_key
from .engine.flows import Turn, now
from .engine.prepare import Intake
from .engine.sharing import Replica
from .handle import JobHandle
from .limits import Limits, seconds
from .recovery import Recovery, recovered
from .stream import Outcome, Outcomes

if TYPE_CHECKING:
    import aiohttp

    from ..callbacks.receiver import CallbackReceiver

_MINUTE = 60.0

Sources: TypeAlias = Source | list[Source] | tuple[Source, ...] | None


class Client:
    """Submits jobs to a provider and brings their results home; used in `async with`, on one event loop.

    `limits` bounds what happens at once. `deadline` is how many seconds a job may take from its turn on. `polling`
    replaces the provider's schedule. `store` remembers jobs; without one they are remembered while the process lives.
    `callbacks` is a receiver: providers that call back are given a URL of it, and polling becomes the safety net.
    `session` is an aiohttp session of yours for the API; it is never closed here. `drain` is how many seconds closing
    waits for paid requests that are on their way. `resubmit=True` sends a submission that is in doubt once more:
    it may be paid twice.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        limits: Limits | None = None,
        deadline: float = 600.0,
        polling: Polling | None = None,
        callbacks: CallbackReceiver | None = None,
        store: JobStore | None = None,
        session: aiohttp.ClientSession | None = None,
        drain: float = 5.0,
        resubmit: bool = False,
        transport: Transport | None = None,
    ) -> None:
        self.provider = provider
        self.limits = limits or Limits()
        self._deadline = seconds(deadline)
        self._store: JobStore = store or MemoryStore()
        self._drain = drain
        self._polling = polling
        self._callbacks = callbacks
        self._orders = Orders(provider, callbacks)
        self._resubmit = resubmit
        self._transport: Transport = transport or HttpTransport(provider, self.limits.transfers, given=session)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._conductor: Conductor | None = None
        self._stack = AsyncExitStack()
        self._intake = Intake(provider, self._transport, lends=callbacks is not None)

    def __repr__(self) -> str:
        """The provider's name and whether it is open."""
        return f"<Client {self.provider.name} {'open' if self._conductor else 'closed'}>"

    async def __aenter__(self) -> Self:
        """Open the sessions and the store on the running loop."""
        if self._conductor is not None:
            raise InvalidInput("this client is open already: one `async with` a client")
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._store)
            await stack.enter_async_context(self._transport)
            self._loop = asyncio.get_running_loop()
            self._conductor = self._assembled(stack)
            self._stack = stack.pop_all()
        return self

    def _assembled(self, stack: AsyncExitStack) -> Conductor:
        conductor = assembled(
            self.provider,
            self._transport,
            self._store,
            self._callbacks,
            limits=self.limits,
            deadline=self._deadline,
            polling=self._polling,
            resubmit=self._resubmit,
            check=lambda: self._open,
        )
        stack.callback(self._orders.opened())
        stack.push_async_callback(conductor.close, self._drain)
        if (commons := self._store.commons) is not None:
            replica = Replica(commons, self.provider.account, self._callbacks, conductor.adopt)
            stack.push_async_callback(replica.stop)
            replica.start()
        return conductor

    async def __aexit__(self, *exc: object) -> None:
        """Wait a moment for paid requests on their way, leave the jobs that go on, say their tokens, close."""
        self._conductor = None
        await self._stack.aclose()

    @property
    def _open(self) -> Conductor:
        if self._conductor is None:
            raise InvalidInput("the client is closed: use it inside `async with Client(…)`")
        if asyncio.get_running_loop() is not self._loop:
            raise InvalidInput("the client belongs to another event loop: open one client a loop")
        return self._conductor

    async def submit(
        self,
        media: Sources,
        *,
        mask: Source | None = None,
        key: str | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
        size: int | None = None,
        **options: Any,
    ) -> JobHandle:
        """Have a job done; returns when the provider has it (a video: when its upload begins).

        `media` is a path, bytes, a link, an open binary file or an async iterable (give its `size` in bytes if you
        know it), or a list of them where the provider takes batches. `mask` is white where something is to go. `key`
        is your idempotency key: a key that is known gives its job, and nothing is submitted again. `deadline` in
        seconds; `progress(sent, total)` is called as the upload moves. `options` are the provider's own.

        Raises InvalidInput or Unsupported before anything is sent; AuthenticationError, InsufficientCredits,
        RateLimited, Rejected or ProviderUnavailable where nothing was paid; SubmissionInDoubt where it may have been.
        """
        _ = self._open
        begun = self._begun(await self._intake.job(media, mask, size, options), key, deadline, progress)
        return await begun.submitted(self._drain)

    async def remove(
        self,
        media: Sources,
        *,
        mask: Source | None = None,
        key: str | None = None,
        deadline: float | None = None,
        progress: Progress | None = None,
        size: int | None = None,
        **options: Any,
    ) -> Result:
        """Submit and wait; parameters as for `submit`. Cancelling it while it waits leaves the job at the provider.

        Raises what `submit` raises, JobFailed, and DeadlineExceeded.
        """
        _ = self._open
        begun = self._begun(await self._intake.job(media, mask, size, options), key, deadline, progress)
        return await begun.completed(self._drain)

    async def refine(
        self, result: Result, *, brush: Source, key: str | None = None, deadline: float | None = None, **options: Any
    ) -> Result:
        """Take more away from a result: what is white in `brush`. The session travels inside the result.

        Raises Unsupported where the provider has no sessions, else as `remove`. A refinement is paid like a job.
        """
        _ = self._open
        job = await self._intake.refinement(result, as_media(brush), options)
        return await self._begun(job, key, deadline, None).completed(self._drain)

    async def stream(
        self,
        items: Iterable[Source] | AsyncIterable[Source],
        *,
        mask: Source | None = None,
        key: Callable[[Source], str] | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> AsyncIterator[Outcome]:
        """Many jobs: outcomes in completion order, items pulled as there is room (`limits.in_flight`).

        Gives Done(media, result) or Failed(media, error); one failure never ends the stream. `key` names each item's
        job: with a store, a run that is repeated pays nothing twice.
        """
        _ = self._open

        async def begin(item: Source) -> JobHandle:
            job = await self._intake.job(item, mask, None, options)
            return self._begun(job, None if key is None else key(item), deadline, None)

        outcomes = Outcomes(begin, self.limits.in_flight).over(items)
        try:
            async for outcome in outcomes:
                yield outcome
        finally:
            await outcomes.aclose()  # type: ignore[attr-defined]

    def resume(self, token: str, *, deadline: float | None = None) -> JobHandle:
        """The handle of a job from its token: it is watched again, never submitted.

        Raises InvalidInput for a text that is no token, or one of another provider.
        """
        conductor = self._open
        record = Record.from_token(token)
        if record.provider != self.provider.name:
            msg = f"this token is of a job at {record.provider}: resume it with that provider's client"
            raise InvalidInput(msg)
        return conductor.begin(record, None, self._seconds(deadline))

    async def recover(self, *, deadline: float | None = None) -> Recovery:
        """Watch all unfinished jobs of this account again; what is in doubt is listed, and nothing is submitted."""
        return await recovered(self._store, self.provider, self._open, self._seconds(deadline))

    async def credits(self) -> Credits:
        """What the account holds; raises Unsupported where the provider documents no such call."""
        conductor = self._open
        return await conductor.talker.converse(self.provider.credits(), Turn(now() + _MINUTE))

    # the inside

    def _begun(self, job: Job, key: str | None, deadline: float | None, progress: Progress | None) -> JobHandle:
        # asked for again: the client may have been closed while the job was looked at
        return self._orders.begun(self._open, job, checked_key(key), self._seconds(deadline), progress)

    def _seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else seconds(deadline)
