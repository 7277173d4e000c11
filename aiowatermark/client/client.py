"""The client: submits jobs to one provider account and waits for their results."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import AsyncExitStack
from math import inf
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar

from ..callbacks.registry import registry_of
from ..errors import InvalidInput
from ..jobs import Job, Record
from ..lifetimes import Lifetime
from ..media import Source, as_media
from ..media.base import ProgressCallback
from ..provider import Credits, Polling, Provider
from ..results import Result
from ..stores import JobStore
from ..stores.memory import MemoryStore
from ..transport import Transport
from ..transport.http import HttpTransport
from ..transport.network.proxies import Network
from .content_key import ContentKey, Key, content_key
from .engine.build import build_engine, same_account, validate_key
from .engine.engine import JobEngine
from .engine.flows import FlowContext, loop_time
from .engine.prepare import JobPreparer
from .engine.sharing import ReplicaMember, share_callbacks
from .engine.submission.claims import new_owner
from .handle import ActiveJob, JobHandle
from .job_tasks import wait_until_ended
from .limits import Limits, positive_number, validate_deadline
from .recovery import Recovery, recover
from .stream import JobStream, Outcome, check_items

if TYPE_CHECKING:
    from ssl import SSLContext

    import aiohttp

    from ..callbacks.receiver import CallbackReceiver

_CREDITS_TIMEOUT = 60.0

T = TypeVar("T")
MediaArgument: TypeAlias = Source | list[Source] | tuple[Source, ...] | None


class Client:
    """Submits jobs to one provider account and waits for their results. Used in `async with`, on one event loop.

    Args:
        provider: the account, for example `PicWish(api_key="…")`.
        limits: how much is done concurrently; see `Limits`.
        deadline: seconds a job may take, counted from when it starts (time in the queue does not count).
        polling: replaces the provider's polling schedule.
        callbacks: a receiver; providers that call back get a URL of it, and polling continues at longer intervals.
        store: persists jobs (`SQLiteStore`, `RedisStore`); the default keeps them in memory, for this process only.
        session: your aiohttp session, used for requests to the API; it is never closed here.
        drain: seconds that closing waits for the answers to paid requests in flight.
        resubmit: True submits a job in doubt once more, at the risk of a second charge.
        acknowledge: when a result counts as taken. "auto": when its outputs were saved or read, when a failure was
            raised, or when an `on_result` handler returned; "manual": only when you call `result.acknowledge()`. What
            was not taken is given again by `recover()` after a crash.
        trust_env: True takes proxies from the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY. Results do the
            same for a `session` that trusts it.
        proxy: the URL of an HTTP proxy through which everything goes: the API, uploads and results.
        ssl: an SSLContext for all connections, for example with the certificate of a company's own authority.
        transport: replaces HTTP, for tests: anything that implements `aiowatermark.transport.Transport`.

    Raises InvalidInput for a parameter out of range.
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
        acknowledge: Literal["auto", "manual"] = "auto",
        transport: Transport | None = None,
        trust_env: bool = False,
        proxy: str | None = None,
        ssl: SSLContext | bool | None = None,
    ) -> None:
        self._provider = provider
        self.limits = _instance(limits, Limits, "limits") or Limits()
        self._deadline = validate_deadline(deadline)
        self._store: JobStore = store or MemoryStore()
        self._drain = positive_number(drain, "drain", zero=True)
        self._polling = _instance(polling, Polling, "polling")
        self._callbacks = None if callbacks is None else registry_of(callbacks)
        self._resubmit = resubmit
        if acknowledge not in ("auto", "manual"):
            raise InvalidInput(f'acknowledge must be "auto" or "manual", not {acknowledge!r}')
        self._acknowledge = acknowledge
        self._transport: Transport = transport or HttpTransport(
            provider, self.limits.transfers, user_session=session, network=Network(trust_env, proxy, ssl)
        )
        self._lifetime = Lifetime("the client")
        self._draining = False
        self._replica: ReplicaMember | None = None
        self._engine: JobEngine | None = None
        self._stack = AsyncExitStack()
        self._preparer = JobPreparer(provider, self._transport, can_serve_files=callbacks is not None)

    def __repr__(self) -> str:
        """The provider's name and whether the client is open."""
        state = "closed" if self._engine is None else "draining" if self._draining else "open"
        return f"<Client {self.provider.name} {state}>"

    @property
    def provider(self) -> Provider:
        """The provider account. Assign one with another API key to rotate the key without a restart.

        The new key is used from the next request on, for running jobs, too. Its account counts as the same one; give
        both `account=`, the same name, so that a later process finds the jobs of either. Raises InvalidInput for
        another provider, base URL, or named account.
        """
        return self._provider

    @provider.setter
    def provider(self, provider: Provider) -> None:
        rotated = same_account(self._provider, provider)
        if (use_provider := getattr(self._transport, "use_provider", None)) is not None:
            use_provider(rotated)
        self._provider = rotated

    @property
    def ready(self) -> bool:
        """Whether the client takes jobs: it is open and not draining. For the readiness probe of a service."""
        return self._engine is not None and not self._draining

    async def drain(self, seconds: float | None = None) -> bool:
        """Take nothing new, and wait until the running jobs have ended, at most `seconds`; whether all have.

        For a service that is told to stop: call it on SIGTERM, and close the client when it returns. From its first
        moment on `ready` is False, and submissions, streams, `resume` and `recover` are refused with InvalidInput.
        Jobs that are still at the provider when the client closes are handed over: to other replicas on a RedisStore
        at once, with another store to the next process that calls `recover()`.
        """
        engine, self._draining = self._open_engine, True
        until = loop_time() + (inf if seconds is None else positive_number(seconds, "seconds", zero=True))
        if self._replica is not None:
            await self._replica.stop_adopting()
        ended = await wait_until_ended(engine.jobs, until)
        await engine.watcher.wait_for_handlers(until)
        return ended

    async def __aenter__(self) -> Self:
        """Open the store and the transport on the running loop; raises InvalidInput if the client is not closed."""
        self._engine = await self._lifetime.open(self._open)
        self._draining = False
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Wait up to `drain` seconds for answers to paid requests, log the tokens of unfinished jobs, and close.

        A caller that is cancelled meanwhile, also several times, is cancelled when the client is closed.
        """
        self._engine = None
        await self._lifetime.close()

    async def _open(self, stack: AsyncExitStack) -> JobEngine:
        self._stack = stack
        await stack.enter_async_context(self._store)
        await stack.enter_async_context(self._transport)
        return await self._build_engine(stack)

    async def _build_engine(self, stack: AsyncExitStack) -> JobEngine:
        owner = new_owner()
        engine = build_engine(
            self.provider,
            self._transport,
            self._store,
            self._callbacks,
            owner=owner,
            limits=self.limits,
            adopted_deadline=self._deadline,
            polling=self._polling,
            resubmit=self._resubmit,
            automatic_acknowledgement=self._acknowledge == "auto",
            ensure_open=lambda: self._open_engine,
        )
        owners = engine.context.owners
        await owners.register(owner)
        stack.push_async_callback(owners.unregister, owner)
        if self._callbacks is not None:
            self._callbacks.observers.attach()
            stack.callback(self._callbacks.observers.detach)
        stack.push_async_callback(engine.close, self._drain)
        if (coordinator := self._store.coordinator) is not None:
            self._replica = replica = ReplicaMember(
                self._store, coordinator, self.provider.account, self._callbacks, engine.adopt
            )
            stack.push_async_callback(replica.stop)
            replica.start()
        if self._callbacks is not None:
            await share_callbacks(stack, self._store, self._callbacks, engine.find_callback)
        return engine

    @property
    def _open_engine(self) -> JobEngine:
        if self._engine is None:
            raise InvalidInput("the client is closed: use it inside `async with Client(…)`")
        self._lifetime.check_loop()
        return self._engine

    @property
    def _accepting_engine(self) -> JobEngine:
        """The engine of a client that takes jobs."""
        engine = self._open_engine
        if self._draining:
            raise InvalidInput("the client drains and takes no jobs: submit them to another one")
        return engine

    async def submit(
        self,
        media: MediaArgument,
        *,
        mask: Source | None = None,
        key: Key | None = None,
        deadline: float | None = None,
        progress: ProgressCallback | None = None,
        size: int | None = None,
        again: bool = False,
        **options: Any,
    ) -> JobHandle:
        """Submit a job; returns when the provider has accepted it (for a video: when its upload begins).

        Args:
            media: a path, bytes, a URL, an open file or upload (anything with `read`), or an async iterable of bytes;
                or a list of them, for providers that accept batches.
            mask: any media of one image: white is removed, black is kept; or `Boxes`.
            key: your idempotency key, 1 to 200 printable characters. A key that is known returns its job, and nothing
                is submitted again; with other content than that job's it is InvalidInput. `CONTENT_KEY` makes the key
                from the bytes, the mask and the options (a link counts by its text).
            deadline: seconds, in place of the client's deadline.
            progress: called as `progress(sent, total)` with bytes while media are uploaded; `total` may be None.
            size: bytes of an async iterable, if you know it; otherwise it is spooled to a temporary file.
            again: True submits and charges anew a job that failed under this key; otherwise its failure is raised
                again. A job that did not fail is not submitted again.
            **options: the provider's own options.

        Raises InvalidInput or Unsupported before anything is sent; AuthenticationError, InsufficientCredits,
        RateLimited, Rejected, TransferFailed or ProviderUnavailable if nothing was paid; SubmissionInDoubt if the job
        may be paid.
        """
        _ = self._accepting_engine
        prepare = self._preparer.prepare(media, mask, size, options, key)
        job = self._start_job(await prepare, key, deadline, progress, again=again)
        await job.wait_accepted(self._drain)
        return job.handle

    async def remove(
        self,
        media: MediaArgument,
        *,
        mask: Source | None = None,
        key: Key | None = None,
        deadline: float | None = None,
        progress: ProgressCallback | None = None,
        size: int | None = None,
        again: bool = False,
        **options: Any,
    ) -> Result:
        """Submit a job and wait for its result; parameters as for `submit`.

        Cancelling it cancels a job that was not sent, and leaves one that was at the provider: `recover()` finds it.
        Raises what `submit` raises, JobFailed, and DeadlineExceeded.
        """
        _ = self._accepting_engine
        prepare = self._preparer.prepare(media, mask, size, options, key)
        job = self._start_job(await prepare, key, deadline, progress, again=again)
        return await job.wait_done(self._drain)

    async def refine(
        self, result: Result, *, brush: Source, key: Key | None = None, deadline: float | None = None, **options: Any
    ) -> Result:
        """Remove more from a result: what is white in `brush`. The provider's session is part of the result.

        A refinement is charged like a job. Raises Unsupported if the provider has no sessions, else as `remove`.
        """
        _ = self._accepting_engine
        if not isinstance(result, Result):
            raise InvalidInput(f"refine takes a Result, not {type(result).__name__}")
        job = await self._preparer.prepare_refinement(result, as_media(brush), options, key)
        return await self._start_job(job, key, deadline, None).wait_done(self._drain)

    def stream(
        self,
        items: Iterable[Source] | AsyncIterable[Source],
        *,
        mask: Source | None = None,
        key: Callable[[Source], Key] | ContentKey | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> AsyncGenerator[Outcome, None]:
        """Run many jobs; yields their outcomes in completion order.

        Items are pulled as there is capacity (`limits.in_flight`). Yields Done(media, result) or Failed(media, error);
        one failure never ends the stream. If `items` raises, what was pulled before is finished and yielded, then the
        error is raised. `key(item)` names the job of an item: with a store, a stream that is repeated pays for nothing
        twice; so does `key=CONTENT_KEY`. Other parameters as for `submit`.

        Leaving the stream cancels the jobs that were not sent. Python closes it on `break` if no name refers to it;
        `async with contextlib.aclosing(client.stream(…)) as outcomes:` closes it in every case.

        Raises InvalidInput if `items` is one medium or a mapping, and when the client is closed meanwhile.
        """
        check_items(items)

        async def start(item: Source) -> ActiveJob:
            own_key = key(item) if callable(key) else key
            job = await self._preparer.prepare(item, mask, None, options, own_key)
            return self._start_job(job, own_key, deadline, None)

        return JobStream(start, self.limits.in_flight, lambda: self._accepting_engine).run(items)

    def resume(self, token: str, *, deadline: float | None = None) -> JobHandle:
        """Return the handle of a job from its token. The job is watched again, never submitted.

        Raises InvalidInput for a text that is not a token, or the token of another provider's job.
        """
        engine = self._accepting_engine
        record = Record.from_token(token)
        if record.provider != self.provider.name:
            raise InvalidInput(f"the token is of a job at {record.provider}: resume it with a client for that provider")
        return engine.start(record, None, self._deadline_seconds(deadline)).handle

    async def recover(self, *, deadline: float | None = None) -> Recovery:
        """Watch all unfinished jobs of this account again; jobs in doubt are listed, and nothing is submitted."""
        return await recover(self._accepting_engine, self._deadline_seconds(deadline))

    async def settle(self, key: str, *, task_id: str | None = None, paid: bool | None = None) -> JobHandle | None:
        """Settle a job in doubt when you know from the provider's console, or its support, what became of it.

        Args:
            key: the job's key.
            task_id: the provider's id of the job; one query confirms it, and the handle of the job is returned.
            paid: True if it was paid and its result is lost: its key stays used. False if it was not: its key is free.

        Raises InvalidInput, and changes nothing, for a job that is not in doubt, whose answer may still come, or of
        another account, and for a task of another job; what a query raises if the task cannot be confirmed.
        """
        engine = self._open_engine
        job = await engine.settle(_known(key), task_id, paid=paid, time_limit=self._deadline)
        return None if job is None else job.handle

    async def forget(self, key: str) -> bool:
        """Delete what is known of a job, so that its key is charged anew; False if nothing is known.

        Raises InvalidInput, and deletes nothing, for a job that is running, at the provider, in doubt, or of another
        account; StoreError if the store fails.
        """
        return await self._open_engine.forget(_known(key))

    async def credits(self) -> Credits:
        """Return the account's balance; raises Unsupported if the provider documents no such call."""
        flows = self._open_engine.context.flows
        return await flows.run(self.provider.credits(), FlowContext(loop_time() + _CREDITS_TIMEOUT))

    def _start_job(
        self,
        job: Job,
        key: Key | None,
        deadline: float | None,
        progress: ProgressCallback | None,
        *,
        again: bool = False,
    ) -> ActiveJob:
        # checked again: the client may have been closed while the job was prepared
        engine = self._accepting_engine
        name = content_key(self.provider, job) if isinstance(key, ContentKey) else validate_key(key)
        started = engine.start_job(job, name, self._deadline_seconds(deadline), progress, again=again)
        engine.watcher.fetcher.remember_inputs(started.record.key, job.inputs)
        return started

    def _deadline_seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else validate_deadline(deadline)


def _instance(value: T, kind: type, name: str) -> T:
    if value is not None and not isinstance(value, kind):
        raise InvalidInput(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
    return value


def _known(key: str) -> str:
    """The key of a job that exists; raises InvalidInput for what cannot be one."""
    if key is None:
        raise InvalidInput("name the job by its key")
    return validate_key(key)
