"""Builds the engine of a client from its settings, and checks the keys that callers give to jobs."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from attrs import evolve

from ...callbacks.registry import CallbackRegistry
from ...errors import InvalidInput
from ...observation.observer import Observer
from ...provider import Polling, Provider
from ...stores import JobStore
from ...transport import Transport
from ...transport.rate_limiter import LocalRateLimiter
from ..download_scopes import DownloadScopes
from ..downloads import ResultDownloader
from ..limits import Limits
from .acknowledgements import Acknowledgements
from .admission import AdmissionQueue
from .context import EngineContext
from .engine import JobEngine
from .flows import FlowRunner
from .in_doubt import InDoubtResolver
from .settle import Settlement
from .sharing import CoordinatedRateLimiter, SubmitSlots
from .snapshots import SnapshotRecorder
from .submission.claims import owners_of
from .submission.deletions import RecordDeletions
from .submission.existing import ExistingRecords
from .submission.submit import Submitter
from .watch import JobWatcher


def build_engine(
    provider: Provider,
    transport: Transport,
    store: JobStore,
    callbacks: CallbackRegistry | None,
    *,
    owner: str,
    limits: Limits,
    adopted_deadline: float,
    polling: Polling | None,
    resubmit: bool,
    automatic_acknowledgement: bool,
    ensure_open: Callable[[], object],
    observer: Observer,
) -> JobEngine:
    """Build an engine on the running loop; limits are shared between replicas if the store has a coordinator."""
    account, coordinator = provider.account, store.coordinator
    rate = limits.requests_per_second or provider.requests_per_second
    rate_limiter = CoordinatedRateLimiter(coordinator, account, rate) if coordinator else LocalRateLimiter(rate)
    flows = FlowRunner(provider, transport, rate_limiter, limits.max_retry_after)
    owners = owners_of(store)
    context = EngineContext(provider, store, flows, SnapshotRecorder(store), callbacks, owner, owners, observer)
    in_doubt = InDoubtResolver(context)
    downloader = ResultDownloader(
        transport, asyncio.Semaphore(limits.transfers), DownloadScopes(ensure_open), provider, flows, observer
    )
    slots = SubmitSlots(asyncio.Semaphore(limits.submissions), limits.submissions, account, coordinator)
    existing = ExistingRecords(context)
    submitter = Submitter(context, slots, in_doubt, existing, RecordDeletions(store), resubmit)
    settlement = Settlement(context)
    acknowledgements = Acknowledgements(store, automatic_acknowledgement)
    watcher = JobWatcher(context, polling, downloader, acknowledgements, submitter.start_uploaded)
    admission = AdmissionQueue(limits.in_flight)
    engine = JobEngine(context, admission, submitter, watcher, in_doubt, settlement, adopted_deadline)
    in_doubt.on_settled = engine.watch_settled
    return engine


def same_account(current: Provider, rotated: Provider) -> Provider:
    """Return a provider with other credentials under the account's name; raises InvalidInput if it is another account.

    An account without a name of its own is named after its credentials, which differ now.
    """
    if not isinstance(rotated, type(current)) or rotated.base_url != current.base_url:
        raise InvalidInput(f"an open client stays with {current.display_name} at {current.base_url}: open another one")
    if rotated.account not in {current.account, rotated.default_account}:
        raise InvalidInput(f"the account {rotated.account!r} is not {current.account!r}: open another client for it")
    return evolve(rotated, account=current.account)


def validate_key(key: str | None) -> str:
    """The caller's key, or a new one; raises InvalidInput for a key that cannot name a job."""
    if key is None:
        # ordered by time (milliseconds): rows are appended at the end of an index of keys
        return f"{time.time_ns() >> 20:011x}{secrets.token_hex(11)[1:]}"
    if not isinstance(key, str) or not key.strip() or len(key) > 200 or not key.isprintable():
        raise InvalidInput(f"key must be a printable text of 1 to 200 characters, your name for this job, not {key!r}")
    return key
