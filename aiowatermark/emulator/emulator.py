"""The emulator itself: two servers on loopback, what stands behind them, and what a test may ask of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from attrs import define, field

from ..provider import Polling, Provider
from ..providers import provider_class
from .apis import APIS
from .backend.accounts import Account, ApiKeys, Credential, new_keys
from .backend.image_worker import ImageWorker
from .backend.jobs import JobService, Processing
from .backend.links import LinkFetcher
from .backend.tasks import EmulatedTask
from .backend.threads import ThreadPool
from .backend.video_worker import VideoWorker
from .callbacks import CallbackAttempt, CallbackScript, CallbackSender
from .extras import missing_extra
from .faults import STEPS, Fault
from .storage.host import StorageHost
from .storage.objects import ObjectStore
from .storage.signing import Signer
from .web.fault_queue import FaultQueue
from .web.server import HttpServers

_POLLING = Polling(first=0.02, factor=1.5, ceiling=0.25)


def _keys(given: Mapping[str, Credential] | None) -> ApiKeys:
    return new_keys({name: dialect.paired for name, dialect in APIS.items()}, given)


@define(eq=False, kw_only=True)
class Emulator:
    """The five APIs on loopback, strict about what their documents require, restoring what they are given.

    `processing`: seconds a job takes, or a function of the `Task`. `mark`: the known mark, a PNG with alpha (bytes or
    path). `callbacks`: how callbacks come unless `script` said otherwise. `keys`: provider name to key, or to (app
    key, secret) for photoeraser; random where not given. `credits`: the balance everywhere, or by provider.
    `restore=False` answers every file as it came and needs no OpenCV. `sync_limit`: how many seconds `sync=1` waits.
    `link_lifetime`, `upload_lifetime`: seconds for which signed links are valid (by default what each provider
    documents, and 900). `clock`: seconds since 1970, for tests that turn it.
    """

    address: str = field(default="127.0.0.1", alias="host")
    port: int = 0
    storage_port: int = 0
    processing: Processing = 0.05
    mark: bytes | str | Path | None = field(default=None, repr=False)
    callbacks: CallbackScript | None = None
    keys: ApiKeys = field(default=None, converter=_keys)
    credits: float | Mapping[str, float] = 1000
    restore: bool = True
    sync_limit: float = 30.0
    link_lifetime: float | None = None
    upload_lifetime: float = 900.0
    clock: Callable[[], float] = field(default=time.time, repr=False)

    base_url: str = field(init=False, default="")
    storage_url: str = field(init=False, default="")
    _accounts: Mapping[str, Account] = field(init=False, repr=False)
    _faults: FaultQueue[Fault] = field(init=False, factory=FaultQueue, repr=False)
    _scripts: FaultQueue[CallbackScript] = field(init=False, factory=FaultQueue, repr=False)
    _stack: AsyncExitStack = field(init=False, factory=AsyncExitStack, repr=False)
    _jobs: JobService = field(init=False, repr=False)
    _storage: StorageHost = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        given = self.credits
        limits = {name: given.get(name, 1000) if isinstance(given, Mapping) else given for name in APIS}
        self._accounts = {name: Account(self.keys[name], limits[name]) for name in APIS}

    async def __aenter__(self) -> Self:
        """Start serving. Raises ModuleNotFoundError when restoring is wanted and OpenCV is not there."""
        if self.restore and (sentence := missing_extra("cv2")):
            raise ModuleNotFoundError(sentence)
        try:
            await self._open(self._stack)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving; nothing is left behind, no task, no thread, no file."""
        await self._stack.aclose()

    @property
    def charged(self) -> dict[str, int]:
        """How many charges each provider made, refunds taken off."""
        return {name: account.charges for name, account in self._accounts.items()}

    @property
    def refunded(self) -> dict[str, int]:
        """How many charges each provider took back."""
        return {name: account.refunds for name, account in self._accounts.items()}

    @property
    def balance(self) -> dict[str, float]:
        """How many credits are left with each provider."""
        return {name: account.remaining for name, account in self._accounts.items()}

    @property
    def tasks(self) -> Sequence[EmulatedTask]:
        """Every job, oldest first."""
        return tuple(self._jobs.tasks)

    @property
    def deliveries(self) -> Sequence[CallbackAttempt]:
        """Every POST to a callback URL, oldest first, and what came of it."""
        return tuple(self._jobs.callback_sender.attempts)

    @property
    def leaks(self) -> int:
        """How many requests to the storage host carried a credential."""
        return self._storage.leaks

    def provider(self, name: str, **settings: Any) -> Provider:
        """A provider that speaks to this emulator, with its key, polling fast and without a rate limit."""
        key = self.keys[name]
        credentials = (key,) if isinstance(key, str) else key
        chosen = {"base_url": self.base_url, "polling": _POLLING, "requests_per_second": None, **settings}
        return provider_class(name)(*credentials, **chosen)

    def host(self, data: bytes, name: str = "picture.jpg") -> str:
        """Put a file on the storage host; gives a link to it that needs no key."""
        return self._jobs.objects.host(data, name)

    def inject(self, fault: Fault, provider: str | None = None, step: str | None = None, times: int | None = 1) -> None:
        """Let something go wrong with the next request that fits, `times` times (None: for ever).

        Steps: submit, query, result, ticket, upload, start, credits; None fits all. Faults are taken in the order in
        which they were injected. Raises ValueError for a provider, step or number that can never fit.
        """
        _check_name(provider, APIS, "provider")
        _check_name(step, fault.steps & STEPS, "step for this fault")
        self._faults.add(fault, provider=provider, step=step, times=times)

    def heal(self) -> None:
        """Forget all faults that have not struck yet."""
        self._faults.clear()

    def script(self, callback: CallbackScript, provider: str | None = None, times: int | None = 1) -> None:
        """Say how the callback of the next job comes, or of the next `times` jobs (None: of all)."""
        _check_name(provider, APIS, "provider")
        self._scripts.add(callback, provider=provider, times=times)

    async def _open(self, stack: AsyncExitStack) -> None:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="aiowatermark-", ignore_cleanup_errors=True))
        files, hands = ThreadPool(), ThreadPool()
        stack.push_async_callback(hands.close)
        stack.push_async_callback(files.close)
        lifetimes = {name: self.link_lifetime or dialect.lifetime for name, dialect in APIS.items()}
        shelf = ObjectStore(Path(directory), Signer(self.clock), lifetimes, self.upload_lifetime)
        await self._build(stack, shelf, files, hands)
        servers = HttpServers(self._faults, files)
        self._storage = StorageHost(shelf, files)
        self.storage_url = await stack.enter_async_context(
            servers.serve([self._storage], self.address, self.storage_port)
        )
        shelf.base_url = self.storage_url
        dialects = [dialect(self._jobs) for dialect in APIS.values()]
        self.base_url = await stack.enter_async_context(servers.serve(dialects, self.address, self.port))

    async def _build(self, stack: AsyncExitStack, shelf: ObjectStore, files: ThreadPool, hands: ThreadPool) -> None:
        """Make the desk and what works for it."""
        mark = self.mark
        if mark is not None and not isinstance(mark, bytes):
            mark = await files.run(Path(mark).read_bytes)
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        self._jobs = JobService(
            accounts=self._accounts,
            objects=shelf,
            image_worker=ImageWorker(self.restore, mark, LinkFetcher(session), shelf, hands),
            video_worker=VideoWorker(self.restore, mark, shelf, files),
            callback_sender=CallbackSender(session),
            faults=self._faults,
            scripts=self._scripts,
            script=self.callbacks or CallbackScript(),
            clock=self.clock,
            processing=self.processing,
            sync_limit=self.sync_limit,
        )
        stack.push_async_callback(self._jobs.callback_sender.close)
        stack.push_async_callback(self._jobs.close)


def _check_name(name: str | None, names: Mapping[str, object] | frozenset[str], what: str) -> None:
    if name is not None and name not in names:
        raise ValueError(f"No such {what}: {name}; there are {', '.join(sorted(names))}.")
