"""From a checked job to a job under way: its record, its callback key, its lent links."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from ...errors import InvalidInput
from ...jobs import SENT, Job, Record, Snapshot, Status
from ...media.memory import Link
from ...provider import Provider
from ...transport.body import Progress
from ..handle import JobHandle
from .engine import Conductor
from .owners import has_left, new_owner
from .submit import Order

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver


@define(eq=False)
class Orders:
    """Begins jobs; with a receiver, provides them with callback URLs and with links for files."""

    provider: Provider
    receiver: CallbackReceiver | None
    owner: str = field(default="", init=False)

    def opened(self) -> Callable[[], None]:
        """The client is open; gives what is to be called when it is closed."""
        self.owner = new_owner()
        return partial(has_left, self.owner)

    def begun(self, conductor: Conductor, job: Job, key: str, deadline: float, progress: Progress | None) -> JobHandle:
        """A job's handle, its life started."""
        if (alive := conductor.alive.get(key)) is not None:
            return conductor.joined(alive, job.fingerprint)
        order, lent = self._lent(job)
        callback_url, callback = self._callback()
        record = Record(
            key,
            self.provider.name,
            Snapshot(None, Status.UPLOADING) if job.video else SENT,
            job.fingerprint,
            video=job.video,
            inputs=tuple(media.identity for media in order.inputs),
            callback=callback,
            account=self.provider.account,
            owner=self.owner,
            created_at=time.time(),
        )
        handle = conductor.begin(record, Order(order, progress, callback_url), deadline)
        if lent:
            handle.when_done(lambda _: self._take_back(lent))
        return handle

    def _callback(self) -> tuple[str | None, str | None]:
        """A callback URL and its key's hash, where there is a receiver and the provider calls back."""
        if self.receiver is None or not self.provider.capabilities.callbacks:
            return None, None
        return self.receiver.mint()

    def _lent(self, job: Job) -> tuple[Job, list[str]]:
        """Links for files, where the provider takes only links."""
        if self.receiver is None or self.provider.capabilities.files:
            return job, []
        links = [(media, "") if isinstance(media, Link) else self.receiver.lend(media) for media in job.inputs]
        return evolve(job, inputs=tuple(link for link, _ in links)), [lent for _, lent in links if lent]

    def _take_back(self, lent: list[str]) -> None:
        if self.receiver is not None:
            for key in lent:
                self.receiver.take_back(key)


def checked_key(key: str | None) -> str:
    """The caller's key, or a new one; raises InvalidInput for a text that is no name."""
    if key is None:
        # in order of time, to the millisecond: an index of keys grows at its end
        return f"{time.time_ns() >> 20:011x}{secrets.token_hex(11)[1:]}"
    if not isinstance(key, str) or not key.strip() or len(key) > 200 or not key.isprintable():
        msg = "key is a printable text of 1 to 200 characters: your own name for this job"
        raise InvalidInput(msg)
    return key
