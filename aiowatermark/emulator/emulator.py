"""The emulator: two HTTP servers on loopback, the parts behind them, and what a test can configure and observe.

    part                    role
    API server              the five APIs (`apis/`) on `base_url`; each route behind fault injection
    storage server          signed URLs of results and uploads on `storage_url`; a separate origin, because real
                            results are on other hosts, where an SDK must not send its credentials
    JobService              tasks, charges, refunds
    ImageWorker             restores images in threads
    VideoWorker             restores videos, each in a process
    CallbackSender          POSTs to callback URLs
    ObjectStore             results and uploads, in memory and in a temporary directory

Opened in this order, and closed in the reverse one: temporary directory, thread pools, HTTP session, callback sender,
job service, storage server, API server. So no request arrives after the parts that serve it have been closed, and no
work outlives the session and the threads that it uses. The storage server is first because links need its URL.

Invariants: nothing but loopback is ever contacted; after closing there is no asyncio task, thread, process or file
left; keys never appear in a repr. `charged`, `tasks` and the other observations stay readable after closing.

Everything runs on one event loop: the caller's with `async with`, one in a thread of its own with `with`. Handlers run
concurrently, but change accounts, tasks and queues between awaits only. Threads and processes get bytes or paths and
return values; they share no state. There are two pools of two threads, so that file access never waits for inpainting,
which takes 50 to 310 ms per megapixel.

What a test calls and reads may be used from any thread: it sets or copies single values, or adds to a locked queue.

An error or a cancellation while opening closes what is open already, then is raised.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from attrs import define, field

from ..clock import current_clock, wall_time
from ..lifetimes import Lifetime
from ..provider import Polling, Provider
from ..providers import provider_class
from .apis import APIS
from .backend.accounts import Account, ApiKeys, Credential, create_keys
from .backend.image_worker import ImageWorker
from .backend.jobs import JobService
from .backend.links import LinkFetcher
from .backend.scripts import Processing, ProviderScript
from .backend.tasks import EmulatedTask
from .backend.threads import ThreadPool
from .backend.video_worker import VideoWorker
from .callbacks import CallbackAttempt, CallbackScript, CallbackSender
from .controls import EmulatedProvider, ProviderControls, public_names
from .extras import missing_extra
from .faults import STEPS, Fault
from .names import unknown_name
from .storage.host import StorageHost
from .storage.objects import ObjectStore
from .storage.signing import Signer
from .thread import EmulatorThread
from .web.fault_queue import FaultQueue
from .web.index import api_page, storage_page
from .web.request_log import RequestObserver
from .web.server import HttpServers

_POLLING = Polling(first=0.02, factor=1.5, ceiling=0.25)
_DEFAULT_CREDITS = 1000


def _complete_keys(chosen: Mapping[str, Credential] | None) -> ApiKeys:
    return create_keys({name: api.has_secret for name, api in APIS.items()}, chosen)


@define(eq=False, kw_only=True)
class Emulator(ProviderControls):
    """The five APIs on loopback, strict about what their documents require.

    `async with` serves on the running event loop, `with` in a thread of its own: for synchronous code, for trio, and
    for tests that each have an event loop. A provider's name as an attribute gives its `EmulatedProvider`:
    `emulator.picwish.credits = 0`.

    `host`, `port`, `storage_port`: where to listen; port 0 selects a free port. `processing`: seconds that a job
    takes, or a function of its `EmulatedTask`. `mark`: the known watermark, a PNG with alpha (bytes or path).
    `callbacks`: how callbacks are sent unless `script` defines it for a job. `keys`: provider name to key, or to (app
    key, secret) for photoeraser; random for those that are not given. `credits`: the balance of every account, or a
    mapping by provider. `restore=False` returns every file unchanged and needs no OpenCV. `sync_limit`: seconds for
    which `sync=1` waits at most. `link_lifetime`, `upload_lifetime`: seconds for which signed URLs of results and of
    uploads are valid; by default what each provider documents for results. `clock`: returns seconds since 1970; a test
    can pass a clock that it controls. `on_request` is called with a `ServedRequest` after each request.

    Raises ValueError for a key of an unknown provider; entering does for a `mark` that is not an image with alpha.
    """

    # not named `host`, which is a method
    address: str = field(default="127.0.0.1", alias="host")
    port: int = 0
    storage_port: int = 0
    processing: Processing = 0.05
    mark: bytes | str | Path | None = field(default=None, repr=False)
    callbacks: CallbackScript | None = None
    keys: ApiKeys = field(default=None, converter=_complete_keys)
    credits: float | Mapping[str, float] = _DEFAULT_CREDITS
    restore: bool = True
    sync_limit: float = 30.0
    link_lifetime: float | None = None
    upload_lifetime: float = 900.0
    clock: Callable[[], float] = field(default=wall_time, repr=False)
    on_request: RequestObserver | None = field(default=None, repr=False)

    base_url: str = field(init=False, default="")
    storage_url: str = field(init=False, default="")
    _accounts: Mapping[str, Account] = field(init=False, repr=False)
    _faults: FaultQueue[Fault] = field(init=False, factory=FaultQueue, repr=False)
    _scripts: FaultQueue[CallbackScript] = field(init=False, factory=FaultQueue, repr=False)
    _provider_scripts: Mapping[str, ProviderScript] = field(init=False, repr=False)
    _controls: dict[str, EmulatedProvider] = field(init=False, factory=dict, repr=False)
    _thread: EmulatorThread | None = field(init=False, default=None, repr=False)
    _lifetime: Lifetime = field(init=False, factory=lambda: Lifetime("the emulator"), repr=False)
    _jobs: JobService = field(init=False, repr=False)
    _storage: StorageHost = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        credits_ = self.credits
        balances = {
            name: credits_.get(name, _DEFAULT_CREDITS) if isinstance(credits_, Mapping) else credits_ for name in APIS
        }
        self._accounts = {name: Account(self.keys[name], balances[name]) for name in APIS}
        self._provider_scripts = {name: ProviderScript() for name in APIS}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> EmulatedProvider:
            # a provider of one's own: found by its name, like the five
            if name in APIS:
                return self._provider_control(name)
            raise AttributeError(unknown_name("provider or attribute", name, {*APIS, *public_names(type(self))}))

    def __enter__(self) -> Self:
        """Start serving in a thread of its own; raises what `async with` raises."""
        thread = EmulatorThread(self)
        thread.start()
        self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving, as `async with` does, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def __aenter__(self) -> Self:
        """Start serving.

        Raises ModuleNotFoundError if OpenCV is needed and not installed, ValueError for a mark without alpha, OSError
        for a used port.
        """
        if self.restore and (message := missing_extra("cv2") or missing_extra("numpy")):
            raise ModuleNotFoundError(message)
        await self._lifetime.open(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving; cancel all work, and remove all threads, processes and files."""
        await self._lifetime.close()

    @property
    def charged(self) -> dict[str, int]:
        """Return the number of charges by provider, without those that were refunded."""
        return {name: account.charges for name, account in self._accounts.items()}

    @property
    def refunded(self) -> dict[str, int]:
        """Return the number of refunded charges by provider."""
        return {name: account.refunds for name, account in self._accounts.items()}

    @property
    def balance(self) -> dict[str, float]:
        """Return the remaining credits by provider."""
        return {name: account.remaining for name, account in self._accounts.items()}

    @property
    def tasks(self) -> Sequence[EmulatedTask]:
        """Return all tasks, oldest first."""
        return self._jobs.tasks.all()

    @property
    def deliveries(self) -> Sequence[CallbackAttempt]:
        """Return every POST to a callback URL with its outcome, oldest first."""
        return tuple(self._jobs.callback_sender.attempts)

    @property
    def leaks(self) -> int:
        """Return the number of requests to the storage server that carried a credential."""
        return self._storage.leaks

    def provider(self, name: str, **settings: Any) -> Provider:
        """Return a provider for this emulator, with its key, with fast polling and without a rate limit.

        Where `no_waiting` is in use, polling takes no time, and its schedule is the usual one of the provider.
        `settings`: further arguments of the provider's class, or other values for these. Raises ValueError for an
        unknown provider.
        """
        _check_name(name, APIS, "provider")
        key = self.keys[name]
        credentials = (key,) if isinstance(key, str) else key
        polling = {} if current_clock().counts else {"polling": _POLLING}
        arguments = {"base_url": self.base_url, "requests_per_second": None, **polling, **settings}
        return provider_class(name)(*credentials, **arguments)

    def host(self, data: bytes, name: str = "picture.jpg") -> str:
        """Store a file on the storage server and return a URL to it that needs no key."""
        return self._jobs.objects.host(data, name)

    def inject(self, fault: Fault, provider: str | None = None, step: str | None = None, times: int | None = 1) -> None:
        """Let a fault occur in the next `times` matching requests (None: in all of them).

        `provider` and `step`: None matches all; steps are submit, query, result, ticket, upload, start and credits.
        Faults are used in the order in which they were injected, one per request. Raises ValueError for an unknown
        provider, for a step at which this fault cannot occur, and for `times` below 1.
        """
        _check_name(provider, APIS, "provider")
        _check_name(step, fault.steps & STEPS, "step for this fault")
        self._faults.add(fault, provider=provider, step=step, times=times)

    def heal(self) -> None:
        """Remove all injected faults that have not occurred yet."""
        self._faults.clear()

    def script(self, callback: CallbackScript, provider: str | None = None, times: int | None = 1) -> None:
        """Define how the callbacks of the next `times` jobs are sent (None: of all jobs).

        Raises ValueError for an unknown provider and for `times` below 1.
        """
        _check_name(provider, APIS, "provider")
        self._scripts.add(callback, provider=provider, times=times)

    def _provider_control(self, name: str) -> EmulatedProvider:
        if name not in self._controls:
            self._controls[name] = EmulatedProvider(
                name, self, self._accounts[name], self._provider_scripts[name], self._faults
            )
        return self._controls[name]

    async def _open(self, stack: AsyncExitStack) -> None:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="aiowatermark-", ignore_cleanup_errors=True))
        file_pool, cpu_pool = ThreadPool(), ThreadPool()
        stack.push_async_callback(cpu_pool.close)
        stack.push_async_callback(file_pool.close)
        lifetimes = {name: self.link_lifetime or api.lifetime for name, api in APIS.items()}
        objects = ObjectStore(Path(directory), Signer(self.clock), lifetimes, self.upload_lifetime)
        await self._build_jobs(stack, objects, file_pool, cpu_pool)
        servers = HttpServers(self._faults, file_pool, self.on_request)
        self._storage = StorageHost(objects, file_pool)
        self.storage_url = await stack.enter_async_context(
            servers.serve([self._storage], self.address, self.storage_port, lambda: storage_page(self.base_url))
        )
        # before the API server accepts the first request
        objects.base_url = self.storage_url
        apis = [api(self._jobs) for api in APIS.values()]
        self.base_url = await stack.enter_async_context(
            servers.serve(apis, self.address, self.port, lambda: api_page(self.base_url, APIS))
        )

    def _read_mark(self) -> bytes | None:
        """Return the known watermark. Raises ValueError if it is none that can be searched for."""
        mark = self.mark if self.mark is None or isinstance(self.mark, bytes) else Path(self.mark).read_bytes()
        if mark is not None and self.restore:
            from .restoration.pixels import decode_mark  # noqa: PLC0415 - needs OpenCV, which `restore=False` does not

            decode_mark(mark)
        return mark

    async def _build_jobs(
        self, stack: AsyncExitStack, objects: ObjectStore, file_pool: ThreadPool, cpu_pool: ThreadPool
    ) -> None:
        """Create the job service with its workers."""
        mark = await file_pool.run(self._read_mark)
        # no cookies: the providers would not send back what a customer's server sets
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        self._jobs = JobService(
            accounts=self._accounts,
            objects=objects,
            image_worker=ImageWorker(self.restore, mark, LinkFetcher(session), objects, cpu_pool),
            video_worker=VideoWorker(self.restore, mark, objects, file_pool),
            callback_sender=CallbackSender(session),
            faults=self._faults,
            scripts=self._scripts,
            script=self.callbacks or CallbackScript(),
            provider_scripts=self._provider_scripts,
            clock=self.clock,
            processing=self.processing,
            sync_limit=self.sync_limit,
        )
        stack.push_async_callback(self._jobs.callback_sender.close)
        stack.push_async_callback(self._jobs.close)


def _check_name(name: str | None, names: Mapping[str, object] | frozenset[str], what: str) -> None:
    if name is not None and name not in names:
        raise ValueError(unknown_name(what, name, names))
