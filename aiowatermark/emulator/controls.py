"""What a test says and asks about one emulated provider: `emulator.picwish.credits = 0`, `emulator.kaze.charged == 1`.

A thin surface over accounts, faults and callback scripts. Everything may be called from any thread while the emulator
serves: it changes single values, or goes through a locked queue.

    to observe      charged, refunded, credits, tasks, deliveries
    for all jobs    credits, processing, polls_until_done, callback         from the next submission on
    for one event   reject, limit_rate, drop_request, drop_answer, stall_answer, fail_upload, fail_job, forget_task,
                    fail_query, fail_download, expire_result                the next `times` of them; None: all

An unknown name, or an unknown way of callback, is one error that names the nearest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from ..providers import provider_class
from .backend.accounts import Account
from .backend.scripts import Processing, ProviderScript
from .backend.tasks import EmulatedTask
from .callbacks import CallbackAttempt, CallbackScript
from .faults import PAID_STEPS, Fault
from .names import unknown_name
from .web.fault_queue import FaultQueue

if TYPE_CHECKING:
    from .emulator import Emulator

CALLBACKS: Mapping[str, CallbackScript] = {
    "usual": CallbackScript(),
    "early": CallbackScript(early=True),
    "late": CallbackScript(delay=1.0),
    "repeated": CallbackScript(copies=3),
    "lost": CallbackScript(lost=True),
    "reordered": CallbackScript(reordered=True),
}
"""The names of `EmulatedProvider.callback`, and what they mean."""


@define(eq=False)
class EmulatedProvider:
    """One emulated provider; get it as an attribute of the emulator, by the provider's name."""

    name: str
    _emulator: Emulator = field(repr=False)
    _account: Account = field(repr=False)
    _script: ProviderScript = field(repr=False)
    _faults: FaultQueue[Fault] = field(repr=False)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(unknown_name(f"attribute of emulator.{self.name}", name, public_names(type(self))))

        def __setattr__(self, name: str, value: object) -> None:
            if not hasattr(type(self), name):
                raise AttributeError(unknown_name(f"attribute of emulator.{self.name}", name, public_names(type(self))))
            object.__setattr__(self, name, value)

    # to observe

    @property
    def charged(self) -> int:
        """Return the number of charges, without those that were refunded."""
        return self._account.charges

    @property
    def refunded(self) -> int:
        """Return the number of refunded charges."""
        return self._account.refunds

    @property
    def tasks(self) -> Sequence[EmulatedTask]:
        """Return the provider's tasks, oldest first."""
        return tuple(task for task in self._emulator.tasks if task.provider == self.name)

    @property
    def deliveries(self) -> Sequence[CallbackAttempt]:
        """Return every POST to a callback URL of this provider's jobs, oldest first."""
        return tuple(attempt for attempt in self._emulator.deliveries if attempt.provider == self.name)

    # for all jobs

    @property
    def credits(self) -> float:
        """The credits that are left; 0 makes the provider refuse submissions because no credits are left."""
        return self._account.remaining

    @credits.setter  # noqa: A003
    def credits(self, value: float) -> None:
        self._account.credits = self._account.spent + value

    @property
    def processing(self) -> Processing | None:
        """Seconds that a job takes, or a function of its task; None: as the emulator's own argument says."""
        return self._script.processing

    @processing.setter
    def processing(self, value: Processing | None) -> None:
        self._script.processing = value

    @property
    def polls_until_done(self) -> int | None:
        """The query that finds a job done, however long that takes: 1 is the first; None: its processing time decides.

        Has no effect on Dewatermark's images, which are in the answer to the submission.
        """
        return self._script.polls_until_done

    @polls_until_done.setter
    def polls_until_done(self, value: int | None) -> None:
        if value is not None and value < 1:
            raise ValueError(f"polls_until_done must be at least 1, or None for the processing time, not {value}.")
        self._script.polls_until_done = value

    @property
    def callback(self) -> CallbackScript | None:
        """How callbacks are sent: usual, early, late, repeated, lost or reordered, or a CallbackScript; None: usual.

        early: before the answer to the submission; late: a second after the job is done; repeated: three times;
        reordered: after the callback of the next job. `CallbackScript` has more. A single use of `Emulator.script`
        comes first. Raises ValueError for an unknown name, and for a provider that sends no callbacks.
        """
        return self._script.callback

    @callback.setter
    def callback(self, value: str | CallbackScript | None) -> None:
        if not provider_class(self.name).capabilities.callbacks:
            raise ValueError(f"{self.name} sends no callbacks.")
        if isinstance(value, str) and value not in CALLBACKS:
            raise ValueError(unknown_name("callback", value, CALLBACKS))
        self._script.callback = CALLBACKS[value] if isinstance(value, str) else value

    # for one event

    def reject(
        self,
        status: int = 400,
        *,
        body: bytes | str | Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer paid requests with this HTTP status, unprocessed; without `body`, as the provider's errors look."""
        self._inject(Fault.status(status, body=body, headers=headers), PAID_STEPS, times)

    def limit_rate(self, retry_after: float | None = None, *, times: int | None = 1) -> None:
        """Answer any request with 429, and with a Retry-After of so many seconds."""
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        self._inject(Fault.status(429, headers=headers), PAID_STEPS | {"query"}, times)

    def drop_request(self, *, times: int | None = 1) -> None:
        """Close the connection of paid requests without an answer; they are not processed and not charged."""
        self._inject(Fault.dropped_before(), PAID_STEPS, times)

    def drop_answer(self, *, times: int | None = 1) -> None:
        """Process and charge paid requests, then close the connection without an answer."""
        self._inject(Fault.dropped_after(), PAID_STEPS, times)

    def stall_answer(self, seconds: float | None = None, *, times: int | None = 1) -> None:
        """Process and charge paid requests, then answer after `seconds`; None: never."""
        self._inject(Fault.stalled(seconds, after_work=True), PAID_STEPS, times)

    def fail_upload(self, at_byte: int = 0, *, times: int | None = 1) -> None:
        """Close the connection when so many bytes of an upload have arrived; it is not processed and not charged.

        An upload is the submission of an image, or a video's upload to the storage host.
        """
        # a video's job is submitted by its start, which has no media
        self._inject(Fault.upload_cut(at_byte), Fault.upload_cut().steps, times)

    def fail_job(self, reason: str = "The job failed.", *, refund: bool | None = None, times: int | None = 1) -> None:
        """Accept and charge jobs, then let them fail; see `Fault.failed`."""
        self._inject(Fault.failed(reason, refund=refund), PAID_STEPS, times)

    def fail_query(self, status: int = 503, *, times: int | None = 1) -> None:
        """Answer queries with this HTTP status."""
        self._inject(Fault.status(status), frozenset({"query"}), times)

    def forget_task(self, *, times: int | None = 1) -> None:
        """Answer queries as if the task did not exist."""
        self._inject(Fault.forgotten(), frozenset({"query"}), times)

    def fail_download(self, at_byte: int = 0, *, times: int | None = 1) -> None:
        """Close the connection when so many bytes of a result have been sent."""
        self._inject(Fault.cut(at_byte), frozenset({"result"}), times)

    def expire_result(self, *, times: int | None = 1) -> None:
        """Answer downloads of results as if their signed URL had expired."""
        self._inject(Fault.expired(), frozenset({"result"}), times)

    def _inject(self, fault: Fault, steps: frozenset[str], times: int | None) -> None:
        self._faults.add(evolve(fault, steps=steps), provider=self.name, times=times)


def public_names(class_: type) -> list[str]:
    """Return the public attributes of a class."""
    return [name for name in dir(class_) if not name.startswith("_")]


class ProviderControls:
    """The emulated providers as attributes of an emulator; a provider of one's own is found by its name as well."""

    __slots__ = ()

    def _provider_control(self, name: str) -> EmulatedProvider:
        raise NotImplementedError

    @property
    def gptge(self) -> EmulatedProvider:
        """Return gpt.ge."""
        return self._provider_control("gptge")

    @property
    def picwish(self) -> EmulatedProvider:
        """Return PicWish."""
        return self._provider_control("picwish")

    @property
    def kaze(self) -> EmulatedProvider:
        """Return Kaze."""
        return self._provider_control("kaze")

    @property
    def photoeraser(self) -> EmulatedProvider:
        """Return Photo Eraser."""
        return self._provider_control("photoeraser")

    @property
    def dewatermark(self) -> EmulatedProvider:
        """Return Dewatermark."""
        return self._provider_control("dewatermark")
