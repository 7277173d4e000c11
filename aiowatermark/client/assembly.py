"""Puts a client's parts together when it opens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..provider import STRETCHED, Polling, Provider
from ..stores import JobStore
from ..transport import Transport
from ..transport.limiter import Limiter
from .conductor import Conductor
from .doubt import Doubt
from .limits import Limits
from .porter import ClientPorter
from .shares import Permits, SharedPace
from .talk import Talker

if TYPE_CHECKING:
    from ..callbacks.receiver import CallbackReceiver


def assembled(
    provider: Provider,
    transport: Transport,
    store: JobStore,
    receiver: CallbackReceiver | None,
    *,
    limits: Limits,
    deadline: float,
    polling: Polling | None,
    resubmit: bool,
    check: Callable[[], object],
) -> Conductor:
    """A conductor on the running loop; what replicas share is shared where the store offers it."""
    account, commons = provider.account, store.commons
    rate = limits.requests_per_second or provider.requests_per_second
    talker = Talker(provider, transport, SharedPace(commons, account, rate) if commons else Limiter(rate))
    return Conductor(
        provider,
        talker,
        store,
        polling or provider.polling,
        # an explicit schedule is obeyed as it stands; only the default stretches
        polling or STRETCHED,
        Permits(asyncio.Semaphore(limits.submissions), limits.submissions, account, commons),
        asyncio.Semaphore(limits.in_flight),
        limits.in_flight,
        deadline,
        ClientPorter(transport, asyncio.Semaphore(limits.transfers), check, provider, talker),
        Doubt(provider, talker, store, receiver),
        receiver,
        resubmit,
    )
