"""Opens and closes a client: `ClientState` is what a client has while it is open, and what its views share with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from typing import Any

from attrs import Attribute, define, field, frozen

from ..callbacks.registry import CallbackRegistry
from ..errors import InvalidInput
from ..lifetimes import Lifetime
from ..observation.advice import SettleAdvice
from ..observation.observer import Observer
from ..observation.stats import Stats
from ..provider import Polling, Provider
from ..stores import JobStore, cli_location
from ..transport import Transport
from .engine.build import build_engine, same_account
from .engine.engine import JobEngine
from .engine.flows import loop_time
from .engine.sharing import ReplicaMember, share_callbacks
from .engine.submission.claims import new_owner
from .job_tasks import wait_until_ended
from .limits import Limits, positive_number, validate_deadline


def _validate_class(kind: type) -> Callable[[Any, Attribute[Any], Any], None]:
    def validate(_: Any, attribute: Attribute[Any], value: Any) -> None:
        if value is not None and not isinstance(value, kind):
            name, right = attribute.name, kind.__name__
            raise InvalidInput(f"{name} must be a {right}, not {type(value).__name__}: {name}=aw.{right}(…)")

    return validate


def _validate_acknowledge(_: Any, __: Any, value: Any) -> None:
    if value not in ("auto", "manual"):
        raise InvalidInput(f'acknowledge must be "auto" or "manual", not {value!r}')


def _default_limits(value: Limits | None) -> Limits:
    return Limits() if value is None else value


def _drain_seconds(value: float) -> float:
    return positive_number(value, "drain", zero=True)


@frozen
class ClientSettings:
    """How a client works; see the parameters of `Client`. Raises InvalidInput for a value out of range."""

    limits: Limits = field(converter=_default_limits, validator=_validate_class(Limits))
    deadline: float = field(converter=validate_deadline)
    drain: float = field(converter=_drain_seconds)
    polling: Polling | None = field(validator=_validate_class(Polling))
    resubmit: bool
    acknowledge: str = field(validator=_validate_acknowledge)


@define(eq=False)
class ClientState:
    """A client's account, transport, store and callbacks, and its engine while it is open."""

    provider: Provider
    transport: Transport
    store: JobStore
    callbacks: CallbackRegistry | None
    settings: ClientSettings
    observer: Observer
    engine: JobEngine | None = field(default=None, init=False)
    draining: bool = field(default=False, init=False)
    _lifetime: Lifetime = field(factory=lambda: Lifetime("the client"), init=False)
    _replica: ReplicaMember | None = field(default=None, init=False)
    _opened: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Tell the observer where an operator can settle a job."""
        base_url = self.provider.base_url
        usual = getattr(self.provider, "default_base_url", None) == base_url
        self.observer.settle_advice = SettleAdvice(cli_location(self.store), None if usual else base_url)

    @property
    def name(self) -> str:
        """A word for what the client does."""
        if self.engine is None:
            return "closed" if self._opened else "never opened"
        return "draining" if self.draining else "open"

    @property
    def open_engine(self) -> JobEngine:
        """The engine; raises InvalidInput if the client is closed, or on another event loop."""
        if self.engine is None:
            state = "is closed" if self._opened else "was never opened"
            raise InvalidInput(f"the client {state}: use it inside `async with aw.Client(…) as client:`")
        self._lifetime.check_loop()
        return self.engine

    @property
    def accepting_engine(self) -> JobEngine:
        """The engine of a client that takes jobs; raises InvalidInput if it drains, too."""
        engine = self.open_engine
        if self.draining:
            raise InvalidInput("the client drains and takes no jobs: submit them to another one")
        return engine

    def stats(self) -> Stats:
        """Return the numbers of this moment; see `Client.stats`."""
        if (engine := self.engine) is None:
            return self.observer.counters.snapshot(in_flight=0, waiting=0)
        running = self.settings.limits.in_flight - engine.admission.free_slots
        return self.observer.counters.snapshot(in_flight=running, waiting=max(0, len(engine.jobs) - running))

    def rotate(self, provider: Provider) -> None:
        """Use other credentials of the same account from the next request on."""
        rotated = same_account(self.provider, provider)
        if (use_provider := getattr(self.transport, "use_provider", None)) is not None:
            use_provider(rotated)
        self.provider = rotated

    async def open(self) -> None:
        """Open the store and the transport on the running loop; raises InvalidInput if the client is not closed."""
        self.engine = await self._lifetime.open(self._open)
        self.draining, self._opened = False, True

    async def close(self) -> None:
        """Wait up to `drain` seconds for answers to paid requests, log the tokens of unfinished jobs, and close."""
        self.engine = None
        await self._lifetime.close()

    async def drain(self, seconds: float | None) -> bool:
        """Take nothing new, and wait until the running jobs have ended, at most `seconds`; whether all have."""
        engine, self.draining = self.open_engine, True
        until = loop_time() + (inf if seconds is None else positive_number(seconds, "seconds", zero=True))
        if self._replica is not None:
            await self._replica.stop_adopting()
        engine.watcher.begin_draining(engine.jobs.values())
        ended = await wait_until_ended(engine.jobs, until)
        await engine.watcher.wait_for_handlers(until)
        return ended

    async def _open(self, stack: AsyncExitStack) -> JobEngine:
        self.observer.clock = asyncio.get_running_loop().time
        if (use_observer := getattr(self.transport, "use_observer", None)) is not None:
            use_observer(self.observer)
        await stack.enter_async_context(self.store)
        await stack.enter_async_context(self.transport)
        engine = self._build_engine()
        owners, owner = engine.context.owners, engine.context.owner
        await owners.register(owner)
        stack.push_async_callback(owners.unregister, owner)
        if self.callbacks is not None:
            self.callbacks.observers.attach()
            stack.callback(self.callbacks.observers.detach)
        stack.push_async_callback(engine.close, self.settings.drain)
        self._join_replicas(engine, stack)
        if self.callbacks is not None:
            await share_callbacks(stack, self.store, self.callbacks, engine.find_callback)
        return engine

    def _build_engine(self) -> JobEngine:
        settings = self.settings
        return build_engine(
            self.provider,
            self.transport,
            self.store,
            self.callbacks,
            owner=new_owner(),
            limits=settings.limits,
            adopted_deadline=settings.deadline,
            polling=settings.polling,
            resubmit=settings.resubmit,
            automatic_acknowledgement=settings.acknowledge == "auto",
            ensure_open=lambda: self.open_engine,
            observer=self.observer,
        )

    def _join_replicas(self, engine: JobEngine, stack: AsyncExitStack) -> None:
        if (coordinator := self.store.coordinator) is None:
            return
        account, adopt = self.provider.account, engine.adopt
        self._replica = replica = ReplicaMember(self.store, coordinator, account, self.callbacks, adopt)
        stack.push_async_callback(replica.stop)
        replica.start()
