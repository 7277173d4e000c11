"""The client: submits jobs to one provider account and waits for their results."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from ..errors import InvalidInput
from ..jobs import Job, Record
from ..media import Source, as_media
from ..media.base import ProgressCallback
from ..misuse import AsyncOnly
from ..observation.observer import Observer, OnEvent
from ..observation.stats import Stats
from ..options import Options
from ..provider import Credits, Polling, Provider
from ..results import Result
from ..stores import JobStore
from ..stores.memory import MemoryStore
from ..transport import Transport
from ..transport.http import HttpTransport
from ..transport.network.proxies import Network
from .arguments import MediaArgument, SourceT, T, check_parties, check_result, known_key, merge_options
from .content_key import ContentKey, Key, content_key
from .engine.build import validate_key
from .engine.engine import JobEngine
from .engine.flows import FlowContext, loop_time
from .engine.prepare import JobPreparer
from .extra_fields import ExtraValue, with_extra_fields
from .handle import ActiveJob, JobHandle
from .limits import Limits, validate_deadline
from .opening import ClientSettings, ClientState
from .recovery import Recovery, recover
from .stream import Done, Failed, ItemFunctions, JobStream, OutcomeStream, check_items
from .views import ViewSlots, check_view_limits, start_in

if TYPE_CHECKING:
    from ssl import SSLContext

    import aiohttp

    from ..callbacks.receiver import CallbackReceiver

_CREDITS_TIMEOUT = 60.0


class Client(AsyncOnly):
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
        on_event: a function that is called on the event loop with each RequestStarted, RequestEnded and JobChanged,
            for metrics and traces. It must not block; what it raises is logged and harms no job.

    Raises InvalidInput for a parameter out of range.
    """

    _is_view = False
    _slots: ViewSlots | None = None

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
        on_event: OnEvent | None = None,
    ) -> None:
        registry = check_parties(provider, store, callbacks)
        settings = ClientSettings(limits, deadline, drain, polling, resubmit, acknowledge)
        self.limits, self._deadline, self._drain = settings.limits, settings.deadline, settings.drain
        network = Network(trust_env, proxy, ssl)
        transport = transport or HttpTransport(provider, self.limits.transfers, user_session=session, network=network)
        self._state = ClientState(provider, transport, store or MemoryStore(), registry, settings, Observer(on_event))
        self._preparer = JobPreparer(provider, transport, can_serve_files=callbacks is not None)

    def __repr__(self) -> str:
        """The provider's name and whether the client is open."""
        return f"<Client {self.provider.name} {self._state.name}>"

    @property
    def provider(self) -> Provider:
        """The provider account. Assign one with another API key to rotate the key without a restart.

        The new key is used from the next request on, for running jobs, too. Its account counts as the same one; give
        both `account=`, the same name, so that a later process finds the jobs of either. Raises InvalidInput for
        another provider, base URL, or named account.
        """
        return self._state.provider

    @provider.setter
    def provider(self, provider: Provider) -> None:
        self._state.rotate(provider)

    def with_options(self, *, deadline: float | None = None, limits: Limits | None = None) -> Client:
        """Return a view of this client with another deadline, or limits of its own; what is not given stays.

        A view has the client's account, connections, store, request rate and counters. It is open while the client is:
        it is not entered itself. Of `limits`, `in_flight` and `submissions` apply to the jobs of the view, within what
        the client allows; the others are the client's. Views with the same limits do not share them, a view of a view
        that is given none does.

        Raises InvalidInput for a value out of range, and for another limit that differs from the client's.
        """
        changed: dict[str, Any] = {"_is_view": True, "_deadline": self._deadline_seconds(deadline)}
        if limits is not None:
            check_view_limits(limits, self._state.settings.limits)
            changed |= {"limits": limits, "_slots": ViewSlots(limits)}
        view = copy(self)
        vars(view).update(changed)
        return view

    @property
    def ready(self) -> bool:
        """Whether the client takes jobs: it is open and not draining. For the readiness probe of a service."""
        return self._state.engine is not None and not self._state.draining

    def stats(self) -> Stats:
        """Return what the client has done since it was made: jobs, submissions by outcome, polls, bytes, times."""
        return self._state.stats()

    async def drain(self, seconds: float | None = None) -> bool:
        """Take nothing new, and wait until the running jobs have ended, at most `seconds`; whether all have.

        For a service that is told to stop: call it on SIGTERM, and close the client when it returns. From its first
        moment on `ready` is False, and submissions, streams, `resume` and `recover` are refused with InvalidInput.
        Jobs that are still at the provider when the client closes are handed over: to other replicas on a RedisStore
        at once, with another store to the next process that calls `recover()`.
        """
        return await self._state.drain(seconds)

    async def __aenter__(self) -> Self:
        """Open the store and the transport on the running loop; raises InvalidInput if the client is not closed."""
        if self._is_view:
            raise InvalidInput("a view is open while its client is: enter the client, and use the view inside")
        await self._state.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Wait up to `drain` seconds for answers to paid requests, log the tokens of unfinished jobs, and close.

        A caller that is cancelled meanwhile, also several times, is cancelled when the client is closed.
        """
        await self._state.close()

    @property
    def _open_engine(self) -> JobEngine:
        return self._state.open_engine

    @property
    def _accepting_engine(self) -> JobEngine:
        return self._state.accepting_engine

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
        extra_fields: Mapping[str, ExtraValue] | None = None,
        options: Mapping[str, Any] | None = None,
        **named: Unpack[Options],
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
            extra_fields: form fields or JSON values (texts, numbers, booleans) that are sent as they are, besides ours.
            options: options as a mapping, for a provider of your own; those of the five are given by name.
            **named: the provider's options, which `Options` documents.

        Raises InvalidInput before anything is sent; AuthenticationError, InsufficientCredits, RateLimited, Rejected,
        TransferFailed or ProviderUnavailable if nothing was paid; SubmissionInDoubt if the job may be paid.
        """
        _ = self._accepting_engine
        prepare = self._preparer.prepare(media, mask, size, merge_options(options, named), key)
        job = await self._start_job(await prepare, key, deadline, progress, extra_fields, again=again)
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
        extra_fields: Mapping[str, ExtraValue] | None = None,
        options: Mapping[str, Any] | None = None,
        **named: Unpack[Options],
    ) -> Result:
        """Submit a job and wait for its result; parameters as for `submit`.

        Cancelling it cancels a job that was not sent, and leaves one that was at the provider: `recover()` finds it.
        Raises what `submit` raises, JobFailed, and DeadlineExceeded.
        """
        _ = self._accepting_engine
        prepare = self._preparer.prepare(media, mask, size, merge_options(options, named), key)
        job = await self._start_job(await prepare, key, deadline, progress, extra_fields, again=again)
        return await job.wait_done(self._drain)

    async def refine(
        self,
        result: Result,
        *,
        brush: Source,
        key: Key | None = None,
        deadline: float | None = None,
        options: Mapping[str, Any] | None = None,
        **named: Unpack[Options],
    ) -> Result:
        """Remove more from a result: what is white in `brush`. The provider's session is part of the result.

        A refinement is charged like a job. Raises Unsupported if the provider has no sessions, else as `remove`.
        """
        _ = self._accepting_engine
        check_result(result)
        job = await self._preparer.prepare_refinement(result, as_media(brush), merge_options(options, named), key)
        return await (await self._start_job(job, key, deadline, None)).wait_done(self._drain)

    @overload
    def stream(
        self,
        items: Iterable[SourceT] | AsyncIterable[SourceT],
        *,
        mask: Source | Callable[[SourceT], Source | None] | None = None,
        key: Callable[[SourceT], Key] | ContentKey | None = None,
        deadline: float | None = None,
        options: Mapping[str, Any] | None = None,
        **named: Unpack[Options],
    ) -> AsyncGenerator[Done[SourceT] | Failed[SourceT], None]: ...

    @overload
    def stream(
        self,
        items: Iterable[T] | AsyncIterable[T],
        *,
        media: Callable[[T], MediaArgument],
        mask: Source | Callable[[T], Source | None] | None = None,
        key: Callable[[T], Key] | ContentKey | None = None,
        deadline: float | None = None,
        options: Mapping[str, Any] | None = None,
        **named: Unpack[Options],
    ) -> AsyncGenerator[Done[T] | Failed[T], None]: ...

    def stream(
        self,
        items: Iterable[T] | AsyncIterable[T],
        *,
        media: Callable[[T], MediaArgument] | None = None,
        mask: Source | Callable[[T], Source | None] | None = None,
        key: Callable[[T], Key] | ContentKey | None = None,
        deadline: float | None = None,
        options: Mapping[str, Any] | None = None,
        **named: Unpack[Options],
    ) -> AsyncGenerator[Done[T] | Failed[T], None]:
        """Run many jobs; yields Done(item, result) or Failed(item, error) in completion order.

        Items are pulled as there is capacity (`limits.in_flight`); one failure never ends the stream. If `items`
        raises, what was pulled before is finished and yielded, then the error is raised.

        Args:
            items: media, or items of any type with `media=`; an iterable or an async iterable.
            media: `media(item)` is what `submit` takes: `media=lambda row: row.path`.
            mask: one for all items, or `mask(item)`.
            key: `key(item)` names the job of an item: with a store, a stream that is repeated pays for nothing twice;
                so does `key=CONTENT_KEY`. What one of these functions raises is the failure of its item.
            deadline: seconds for each job, in place of the client's deadline.
            options: as for `submit`.
            **named: as for `submit`.

        Leaving the stream cancels the jobs that were not sent. Python closes it on `break` if no name refers to it;
        `async with contextlib.aclosing(client.stream(…)) as outcomes:` closes it in every case.

        Raises InvalidInput if `items` is one medium or a mapping, and when the client is closed meanwhile.
        """
        check_items(items)
        start = partial(self._start_item, ItemFunctions(media, mask, key), merge_options(options, named), deadline)
        return OutcomeStream(JobStream(start, self.limits.in_flight, lambda: self._accepting_engine).run(items))

    async def _start_item(
        self, functions: ItemFunctions[T], options: Mapping[str, Any], deadline: float | None, item: T
    ) -> ActiveJob:
        key, mask = functions.key_of(item), functions.mask_of(item)
        job = await self._preparer.prepare(functions.media_of(item), mask, None, options, key)
        return await self._start_job(job, key, deadline, None)

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

        Raises InvalidInput, and changes nothing, for a job of another account or task, that is neither in doubt nor
        settled as unpaid, or whose answer may still come; what a query raises if the task cannot be confirmed.
        """
        job = await self._open_engine.settle(known_key(key), task_id, paid=paid, time_limit=self._deadline)
        return None if job is None else job.handle

    async def forget(self, key: str) -> bool:
        """Delete what is known of a job, so that its key is charged anew; False if nothing is known.

        Raises InvalidInput, and deletes nothing, for a job that is running, at the provider, in doubt, or of another
        account; StoreError if the store fails.
        """
        return await self._open_engine.forget(known_key(key))

    async def credits(self) -> Credits:
        """Return the account's balance; raises Unsupported if the provider documents no such call."""
        flows = self._open_engine.context.flows
        return await flows.run(self.provider.credits(), FlowContext(loop_time() + _CREDITS_TIMEOUT))

    async def _start_job(
        self,
        job: Job,
        key: Key | None,
        deadline: float | None,
        progress: ProgressCallback | None,
        extra_fields: Mapping[str, ExtraValue] | None = None,
        *,
        again: bool = False,
    ) -> ActiveJob:
        job = with_extra_fields(job, extra_fields)
        seconds = self._deadline_seconds(deadline)

        def start() -> ActiveJob:
            # checked again: the client may have been closed while the job was prepared
            engine = self._accepting_engine
            name = content_key(self.provider, job) if isinstance(key, ContentKey) else validate_key(key)
            started = engine.start_job(job, name, seconds, progress, again=again)
            engine.watcher.fetcher.remember_inputs(started.record.key, job.inputs)
            return started

        return await start_in(self._slots, start)

    def _deadline_seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else validate_deadline(deadline)
