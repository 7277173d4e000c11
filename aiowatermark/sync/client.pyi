"""Signatures of the synchronous classes; made by `python -m tests.support.sync_stub`, not to be edited."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Generator, Iterable, Mapping
from os import PathLike
from pathlib import Path
from ssl import SSLContext
from typing import Any, Generic, Literal, Self, TypeAlias, Unpack, overload

import aiohttp
from attrs import frozen

from ..callbacks.receiver import CallbackReceiver
from ..charges import Charge
from ..client.arguments import MediaArgument, SourceT, T
from ..client.content_key import ContentKey, Key
from ..client.extra_fields import ExtraValue
from ..client.limits import Limits
from ..client.stream import Failed, T_co
from ..jobs import Output, Record, Snapshot
from ..media import Source
from ..media.base import ProgressCallback
from ..observation.observer import OnEvent
from ..observation.stats import Stats
from ..options import Options
from ..provider import Credits, Polling, Provider
from ..stores import JobStore
from ..transport import Transport

class Result:
    """A finished job: its `outputs`, one per input in the inputs' order, and how to save or read them.

    As `aiowatermark.Result`, with methods that return when the work is done.
    """

    record: Record

    @property
    def key(self) -> str:
        """The job's key in the store."""

    @property
    def provider(self) -> str:
        """The provider's name."""

    @property
    def snapshot(self) -> Snapshot:
        """The last observation of the job."""

    @property
    def token(self) -> str:
        """A text that gives the result again in any process, as long as the provider keeps it."""

    @property
    def raw(self) -> Any:
        """The provider's last answer, for what this package does not read: JSON values, or a text if it is no JSON.

        Secrets are replaced by "…", queries of URLs too; lists are cut to 20 items. None if the answer is not known, as
        after `recover()`, or is larger than 16 KiB.
        """

    @property
    def request_id(self) -> str | None:
        """The provider's name for the last request, which its support asks for; None if it gave none."""

    @property
    def charged(self) -> Charge | None:
        """What the job cost, and where that is known from; None if it is not known."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One output per input, in the inputs' order; each has either `media` or `error`."""

    @property
    def url(self) -> str | None:
        """The URL of the first output that succeeded; None if the provider answered with bytes.

        Raises JobFailed if no output succeeded.
        """

    def save(
        self,
        path: str | PathLike[str],
        *,
        index: int | None = None,
        max_bytes: int | None = None,
        progress: ProgressCallback | None = None,
        verify: bool = True,
    ) -> Path:
        """Write an output to `path` and return the path of the file.

        It is streamed into a file beside `path`, which replaces `path` only once it is complete. An interrupted
        download is resumed, and an expired URL is requested again once. What came is looked at: nothing, an error
        page, a file of another kind or one whose end is missing is fetched again. A file whose end is missing each
        time is delivered with a warning and `output.suspect`. Afterwards `output.info` describes the file.

        Args:
            path: the file to write. A folder: a free name in it, with the suffix of the result's format. A device or
                FIFO: the result is written into it. A symbolic link stays, and a file that is replaced keeps its mode.
            index: the number of the output, counted from 0; the default is the first that succeeded.
            max_bytes: a larger download fails; None: no limit.
            progress: called as `progress(done, total)` with bytes as they arrive; `total` is None while unknown.
            verify: False delivers whatever came.

        Raises InvalidInput, before anything is fetched, if the path cannot be written;
        TransferFailed, ResultExpired, and the output's own error (JobFailed) if it did not succeed.
        """

    def read(self, *, index: int | None = None, max_bytes: int | None = None, verify: bool = True) -> bytes:
        """Return an output's bytes; arguments and errors are those of `save`.

        Without `max_bytes`, more than 256 MiB are TransferFailed: save them, or pass a larger number.
        """

    def acknowledge(self) -> None:
        """Note that you took the result, so that no client is given it again after a crash; waits for the store.

        Saving or reading all outputs does this, unless the client was made with `acknowledge="manual"`.
        """

    def note_handled(self) -> None:
        """Acknowledge the result after the result handlers returned, unless that is left to the user."""

class JobHandle:
    """A job under way: `result()` waits for its Result. Interrupting the wait leaves the job.

    As `aiowatermark.JobHandle`, with methods that return when the work is done.
    """

    @property
    def key(self) -> str:
        """The name of the job in the store: yours, or one the SDK made."""

    @property
    def task_id(self) -> str | None:
        """The provider's own id, None until the provider has given one."""

    @property
    def token(self) -> str:
        """A text that resumes the job in any process with `client.resume(token)`. It holds no secret."""

    @property
    def snapshot(self) -> Snapshot:
        """The latest observation."""

    def done(self) -> bool:
        """Whether there is a result or an error."""

    def when_done(self, function: Callable[[Result | BaseException], object]) -> None:
        """Call `function` in a thread of its own with the result or the error, once; it may wait."""

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the result, at most `timeout` seconds; the job goes on when it passes.

        Raises TimeoutError after `timeout`; else JobFailed, DeadlineExceeded, SubmissionInDoubt, or another
        WatermarkError that ended the job.
        """

    def updates(self) -> Generator[Snapshot]:
        """Yield snapshots as they change, only the latest where several came together; end after the terminal one.

        Raises what ended the job without a terminal snapshot, for example DeadlineExceeded.
        """

@frozen
class Recovery:
    """What `client.recover()` found; see `aiowatermark.Recovery`."""

    resumed: list[JobHandle] = ...
    in_doubt: list[Record] = ...
    unsent: list[Record] = ...
    finished: list[Result] = ...
    held: list[Record] = ...
    elsewhere: int = 0

@frozen
class Done(Generic[T_co]):
    """An item of a stream that succeeded, and its synchronous result."""

    item: T_co
    result: Result

    @property
    def media(self) -> T_co:
        """The item: the name of `item` in version 0.1, to be removed in 0.3."""

Outcome: TypeAlias = Done[T] | Failed[T]

class Client:
    """Submits jobs to one provider account and waits for their results, for code without an event loop.

    It runs the asynchronous client on an event loop of its own, in a daemon thread. Use it in `with`, or call `open`
    and `close`. All methods may be called in any number of threads at once, also where an event loop is running, as in
    Jupyter. A method that is interrupted by Ctrl-C leaves a job that may be paid as it is: `recover()` finds it.

    The arguments are those of `aiowatermark.Client`, without `session`, which belongs to an event loop of yours.
    """

    limits: Limits

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
        """Make a client that is not open."""

    @property
    def provider(self) -> Provider:
        """The provider account. Assign one with another API key to rotate the key without a restart.

        The new key is used from the next request on, for running jobs, too. Its account counts as the same one; give
        both `account=`, the same name, so that a later process finds the jobs of either. Raises InvalidInput for
        another provider, base URL, or named account.
        """

    @provider.setter
    def provider(self, provider: Provider) -> None: ...
    def with_options(self, *, deadline: float | None = None, limits: Limits | None = None) -> Client:
        """Return a view of this client with another deadline, or limits of its own; what is not given stays.

        A view has the client's account, connections, store, request rate and counters. It is open while the client is:
        it is not entered itself. Of `limits`, `in_flight` and `submissions` apply to the jobs of the view, within what
        the client allows; the others are the client's. Views with the same limits do not share them, a view of a view
        that is given none does.

        Raises InvalidInput for a value out of range, and for another limit that differs from the client's.
        """

    @property
    def ready(self) -> bool:
        """Whether the client takes jobs: it is open and not draining. For the readiness probe of a service."""

    def stats(self) -> Stats:
        """Return what the client has done since it was made: jobs, submissions by outcome, polls, bytes, times."""

    def drain(self, seconds: float | None = None) -> bool:
        """Take nothing new, and wait until the running jobs have ended, at most `seconds`; whether all have.

        For a service that is told to stop: call it on SIGTERM, and close the client when it returns. From its first
        moment on `ready` is False, and submissions, streams, `resume` and `recover` are refused with InvalidInput.
        Jobs that are still at the provider when the client closes are handed over: to other replicas on a RedisStore
        at once, with another store to the next process that calls `recover()`.
        """

    def __enter__(self) -> Self:
        """Open the client; see `open`."""

    def __exit__(self, *exc: object) -> None:
        """Close the client; see `close`."""

    def submit(
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

    def remove(
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

    def refine(
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
    ) -> Generator[Done[SourceT] | Failed[SourceT]]: ...
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
    ) -> Generator[Done[T] | Failed[T]]:
        """Run many jobs; yields their outcomes in completion order.

        As `aiowatermark.Client.stream`. Items are pulled, and `key` and `media` are called, in the thread that iterates
        over the outcomes, while it waits for the next one: a database cursor may be passed. Leaving the loop, or
        `close()` of the iterator, cancels the jobs that were not sent.
        """

    def resume(self, token: str, *, deadline: float | None = None) -> JobHandle:
        """Return the handle of a job from its token. The job is watched again, never submitted.

        Raises InvalidInput for a text that is not a token, or the token of another provider's job.
        """

    def recover(self, *, deadline: float | None = None) -> Recovery:
        """Watch all unfinished jobs of this account again; jobs in doubt are listed, and nothing is submitted."""

    def settle(self, key: str, *, task_id: str | None = None, paid: bool | None = None) -> JobHandle | None:
        """Settle a job in doubt when you know from the provider's console, or its support, what became of it.

        Args:
            key: the job's key.
            task_id: the provider's id of the job; one query confirms it, and the handle of the job is returned.
            paid: True if it was paid and its result is lost: its key stays used. False if it was not: its key is free.

        Raises InvalidInput, and changes nothing, for a job of another account or task, that is neither in doubt nor
        settled as unpaid, or whose answer may still come; what a query raises if the task cannot be confirmed.
        """

    def forget(self, key: str) -> bool:
        """Delete what is known of a job, so that its key is charged anew; False if nothing is known.

        Raises InvalidInput, and deletes nothing, for a job that is running, at the provider, in doubt, or of another
        account; StoreError if the store fails.
        """

    def credits(self) -> Credits:
        """Return the account's balance; raises Unsupported if the provider documents no such call."""

    def open(self) -> Self:
        """Open the client and return it; it is open until `close`, or until the interpreter exits.

        Raises InvalidInput if it is open already, and what opening the store raises.
        """

    def close(self) -> None:
        """Wait up to `drain` seconds for answers to paid requests, log the tokens of unfinished jobs, and close.

        Does nothing if the client is not open, and in a child of a fork, which has no copy of it.
        """
