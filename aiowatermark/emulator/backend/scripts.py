"""ProviderScript: what a test has chosen for all jobs of one provider, from the next submission on."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from ..callbacks import CallbackScript
from .tasks import EmulatedTask

Processing = float | Callable[[EmulatedTask], float]


@define
class ProviderScript:
    """None: as the emulator's own arguments say.

    `processing`: seconds that a job takes, or a function of its task. `polls_until_done`: the query that finds the job
    done, whatever the time; the first is 1. `callback`: how callbacks are sent.
    """

    processing: Processing | None = None
    polls_until_done: int | None = None
    callback: CallbackScript | None = None

    def seconds(self, task: EmulatedTask, default: Processing) -> float:
        """Return the seconds that this job takes."""
        processing = default if self.processing is None else self.processing
        return processing(task) if callable(processing) else processing
