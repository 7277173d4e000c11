"""What all parts of the engine share."""

from __future__ import annotations

from attrs import frozen

from ...callbacks.registry import CallbackRegistry
from ...provider import Provider
from ...stores import JobStore
from ...stores.owners import Owners
from .flows import FlowRunner
from .snapshots import SnapshotRecorder


@frozen(eq=False)
class EngineContext:
    """Built once when a client opens. `owner` names this client in the records it creates."""

    provider: Provider
    store: JobStore
    flows: FlowRunner
    snapshots: SnapshotRecorder
    callbacks: CallbackRegistry | None
    owner: str
    owners: Owners
