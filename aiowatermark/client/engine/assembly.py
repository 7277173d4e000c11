"""Puts a client's parts together when it opens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...provider import STRETCHED, Polling, Provider
from ...stores import JobStore
from ...transport import Transport
from ...transport.rate_limiter import Limiter
from ..downloads import ClientPorter
from ..limits import Limits
from .admission import Turns
from .engine import Conductor
from .flows import Talker
from .in_doubt import Doubt
from .sharing import Permits, SharedPace
from .snapshots import Gate
from .submit import Submission
from .watch import Watch

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver


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
    gate = Gate(store)
    doubt = Doubt(provider, talker, store, receiver)
    porter = ClientPorter(transport, asyncio.Semaphore(limits.transfers), check, provider, talker)
    # an explicit schedule is obeyed as it stands; only the default stretches
    schedules = (polling or provider.polling, polling or STRETCHED)
    return Conductor(
        provider,
        talker,
        store,
        gate,
        Turns(limits.in_flight),
        Permits(asyncio.Semaphore(limits.submissions), limits.submissions, account, commons),
        Submission(provider, talker, store, doubt, gate, receiver, resubmit),
        Watch(provider, talker, gate, *schedules, porter, receiver),
        doubt,
        deadline,
        receiver,
    )
