"""What all parts of the engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from ...provider import Provider
from ...stores import JobStore
from .flows import FlowRunner
from .snapshots import SnapshotRecorder

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver


@frozen(eq=False)
class EngineContext:
    """Built once when a client opens. `owner` names this client in the records it creates."""

    provider: Provider
    store: JobStore
    flows: FlowRunner
    snapshots: SnapshotRecorder
    receiver: CallbackReceiver | None
    owner: str
