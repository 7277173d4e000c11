"""The client: one provider, its limits, its memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ..errors import InvalidInput
from ..jobs import Job, Record
from ..media import Source, as_media
from ..media.base import ProgressCallback
from ..provider import Credits, Polling, Provider
from ..results import Result
from ..stores import JobStore
from ..stores.memory import MemoryStore
from ..transport import Transport
from ..transport.http import HttpTransport
from .engine.engine import JobEngine, JobStarter, build_engine, validate_key
from .engine.flows import FlowContext, loop_time
from .engine.prepare import JobPreparer
from .engine.sharing import ReplicaMember
from .handle import JobHandle
from .limits import Limits, validate_deadline
from .recovery import Recovery, recover
from .stream import JobStream, Outcome

if TYPE_CHECKING:
    import aiohttp

    from ..callbacks.receiver import CallbackReceiver

_CREDITS_TIMEOUT = 60.0

MediaArgument: TypeAlias = Source | list[Source] | tuple[Source, ...] | None


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
        self._deadline = validate_deadline(deadline)
        self._store: JobStore = store or MemoryStore()
        self._drain = drain
        self._polling = polling
        self._callbacks = callbacks
        self._starter = JobStarter(provider, callbacks)
        self._resubmit = resubmit
        self._transport: Transport = transport or HttpTransport(provider, self.limits.transfers, user_session=session)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: JobEngine | None = None
        self._stack = AsyncExitStack()
        self._preparer = JobPreparer(provider, self._transport, can_lend=callbacks is not None)

    def __repr__(self) -> str:
        """The provider's name and whether it is open."""
        return f"<Client {self.provider.name} {'open' if self._engine else 'closed'}>"

    async def __aenter__(self) -> Self:
        """Open the sessions and the store on the running loop."""
        if self._engine is not None:
            raise InvalidInput("this client is open already: one `async with` a client")
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._store)
            await stack.enter_async_context(self._transport)
            self._loop = asyncio.get_running_loop()
            self._engine = self._build_engine(stack)
            self._stack = stack.pop_all()
        return self

    def _build_engine(self, stack: AsyncExitStack) -> JobEngine:
        conductor = build_engine(
            self.provider,
            self._transport,
            self._store,
            self._callbacks,
            limits=self.limits,
            deadline=self._deadline,
            polling=self._polling,
            resubmit=self._resubmit,
            check=lambda: self._open_engine,
        )
        stack.callback(self._starter.open())
        stack.push_async_callback(conductor.close, self._drain)
        if (coordinator := self._store.coordinator) is not None:
            replica = ReplicaMember(coordinator, self.provider.account, self._callbacks, conductor.adopt)
            stack.push_async_callback(replica.stop)
            replica.start()
        return conductor

    async def __aexit__(self, *exc: object) -> None:
        """Wait a moment for paid requests on their way, leave the jobs that go on, say their tokens, close."""
        self._engine = None
        await self._stack.aclose()

    @property
    def _open_engine(self) -> JobEngine:
        if self._engine is None:
            raise InvalidInput("the client is closed: use it inside `async with Client(…)`")
        if asyncio.get_running_loop() is not self._loop:
            raise InvalidInput("the client belongs to another event loop: open one client a loop")
        return self._engine

    async def submit(
        self,
        media: MediaArgument,
        *,
        mask: Source | None = None,
        key: str | None = None,
        deadline: float | None = None,
        progress: ProgressCallback | None = None,
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
        _ = self._open_engine
        begun = self._start(await self._preparer.prepare(media, mask, size, options), key, deadline, progress)
        return await begun.wait_accepted(self._drain)

    async def remove(
        self,
        media: MediaArgument,
        *,
        mask: Source | None = None,
        key: str | None = None,
        deadline: float | None = None,
        progress: ProgressCallback | None = None,
        size: int | None = None,
        **options: Any,
    ) -> Result:
        """Submit and wait; parameters as for `submit`. Cancelling it while it waits leaves the job at the provider.

        Raises what `submit` raises, JobFailed, and DeadlineExceeded.
        """
        _ = self._open_engine
        begun = self._start(await self._preparer.prepare(media, mask, size, options), key, deadline, progress)
        return await begun.wait_done(self._drain)

    async def refine(
        self, result: Result, *, brush: Source, key: str | None = None, deadline: float | None = None, **options: Any
    ) -> Result:
        """Take more away from a result: what is white in `brush`. The session travels inside the result.

        Raises Unsupported where the provider has no sessions, else as `remove`. A refinement is paid like a job.
        """
        _ = self._open_engine
        job = await self._preparer.prepare_refinement(result, as_media(brush), options)
        return await self._start(job, key, deadline, None).wait_done(self._drain)

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
        _ = self._open_engine

        async def begin(item: Source) -> JobHandle:
            job = await self._preparer.prepare(item, mask, None, options)
            return self._start(job, None if key is None else key(item), deadline, None)

        outcomes = JobStream(begin, self.limits.in_flight).run(items)
        try:
            async for outcome in outcomes:
                yield outcome
        finally:
            await outcomes.aclose()  # type: ignore[attr-defined]

    def resume(self, token: str, *, deadline: float | None = None) -> JobHandle:
        """The handle of a job from its token: it is watched again, never submitted.

        Raises InvalidInput for a text that is no token, or one of another provider.
        """
        conductor = self._open_engine
        record = Record.from_token(token)
        if record.provider != self.provider.name:
            raise InvalidInput(f"this token is of a job at {record.provider}: resume it with that provider's client")
        return conductor.start(record, None, self._deadline_seconds(deadline))

    async def recover(self, *, deadline: float | None = None) -> Recovery:
        """Watch all unfinished jobs of this account again; what is in doubt is listed, and nothing is submitted."""
        return await recover(self._store, self.provider, self._open_engine, self._deadline_seconds(deadline))

    async def credits(self) -> Credits:
        """What the account holds; raises Unsupported where the provider documents no such call."""
        conductor = self._open_engine
        return await conductor.flows.run(self.provider.credits(), FlowContext(loop_time() + _CREDITS_TIMEOUT))

    # the inside

    def _start(self, job: Job, key: str | None, deadline: float | None, progress: ProgressCallback | None) -> JobHandle:
        # asked for again: the client may have been closed while the job was looked at
        return self._starter.start(
            self._open_engine, job, validate_key(key), self._deadline_seconds(deadline), progress
        )

    def _deadline_seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else validate_deadline(deadline)
