"""Results: the outputs of a finished job and how to save or read them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from attrs import field, frozen

from .charges import Charge
from .errors import InvalidInput, JobFailed
from .events import Completed
from .introspection import documented, short_repr
from .jobs import Output, Record, Snapshot, Status
from .media.base import Media, ProgressCallback
from .media.memory import Link
from .misuse import NotAwaitable
from .redaction import short_text
from .wire import KeptAnswer


def _validate_bytes(_: object, __: object, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise InvalidInput(f"max_bytes must be a whole number of bytes, not {value!r}")


@frozen
class FetchOptions:
    """How to fetch an output; see `Result.save`."""

    max_bytes: int | None = field(default=None, validator=_validate_bytes)
    progress: ProgressCallback | None = None
    verify: bool = True


class ResultFetcher(Protocol):
    """Downloads the outputs of a result, and notes in each what it is."""

    def remember_inputs(self, key: str, inputs: Sequence[Media]) -> None:
        """Keep what is needed to tell whether the outputs of this job equal its inputs."""

    async def save(self, result: Result, output: Output, path: Path, options: FetchOptions) -> Path:
        """Stream the output to `path`, where it appears only once it is complete, and return where it is."""
        ...

    async def read(self, result: Result, output: Output, options: FetchOptions) -> bytes:
        """Return the output's bytes."""
        ...


class Acknowledger(Protocol):
    """Notes that results were taken; `automatic`: also when all outputs were saved or read."""

    automatic: bool

    def add(self, record: Record) -> Awaitable[None]:
        """Acknowledge the result of an ended job; awaiting the returned object waits until it was written."""
        ...


log = logging.getLogger("aiowatermark")


@documented
@frozen(eq=False)
class Result(NotAwaitable):
    """A finished job: its `outputs`, one per input in the inputs' order, and how to save or read them.

    Clients make results; you get them from `Client.remove`, from a JobHandle, and in result handlers.

    Args:
        record: the job's record, with the last snapshot.
        fetcher: what downloads the outputs: the client.
        acknowledger: what notes that the result was taken; None for a result that no store keeps.
        answer: the answer that ended the job; None if it is not known.
    """

    _called = "a result that has come"
    _right_line = "`await result.save(path)`"

    record: Record
    _fetcher: ResultFetcher = field(repr=False)
    _acknowledger: Acknowledger | None = field(default=None, repr=False)
    _answer: KeptAnswer | None = field(default=None, repr=False)
    _taken: set[int] = field(factory=set, init=False, repr=False)

    def __repr__(self) -> str:
        """The provider, the job's key, its state and the number of outputs."""
        provider, key = short_text(self.provider, 20), short_text(self.key, 60)
        return short_repr(self, provider, key, str(self.snapshot.status), f"outputs={len(self.outputs)}")

    @property
    def key(self) -> str:
        """The job's key in the store."""
        return self.record.key

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.record.provider

    @property
    def snapshot(self) -> Snapshot:
        """The last observation of the job."""
        return self.record.snapshot

    @property
    def token(self) -> str:
        """A text that gives the result again in any process, as long as the provider keeps it."""
        return self.record.token

    @property
    def raw(self) -> Any:
        """The provider's last answer, for what this package does not read: JSON values, or a text if it is no JSON.

        Secrets are replaced by "…", queries of URLs too; lists are cut to 20 items. None if the answer is not known, as
        after `recover()`, or is larger than 16 KiB.
        """
        return None if self._answer is None else self._answer.raw

    @property
    def request_id(self) -> str | None:
        """The provider's name for the last request, which its support asks for; None if it gave none."""
        return None if self._answer is None else self._answer.request_id

    @property
    def charged(self) -> Charge | None:
        """What the job cost, and where that is known from; None if it is not known."""
        return self.record.charged

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One output per input, in the inputs' order; each has either `media` or `error`."""
        return self.snapshot.outputs

    @property
    def url(self) -> str | None:
        """The URL of the first output that succeeded; None if the provider answered with bytes.

        Raises JobFailed if no output succeeded.
        """
        media = self._output(None).media
        return media.url if isinstance(media, Link) else None

    async def save(
        self,
        path: str | PathLike[str],
        *,
        index: int | None = None,
        max_bytes: int | None = None,
        progress: ProgressCallback | None = None,
        verify: bool = True,
    ) -> Path:
        """Write an output to `path` and return the path of the file.

        It is streamed into a file beside `path`, which replaces `path` only once it is complete. An interrupted
        download is resumed, and an expired URL is requested again once. What came is looked at: nothing, an error
        page, a file of another kind or one whose end is missing is fetched again. A file whose end is missing each
        time is delivered with a warning and `output.suspect`. Afterwards `output.info` describes the file.

        Args:
            path: the file to write. A folder: a free name in it, with the suffix of the result's format. A device or
                FIFO: the result is written into it. A symbolic link stays, and a file that is replaced keeps its mode.
            index: the number of the output, counted from 0; the default is the first that succeeded.
            max_bytes: a larger download fails; None: no limit.
            progress: called as `progress(done, total)` with bytes as they arrive; `total` is None while unknown.
            verify: False delivers whatever came.

        Raises InvalidInput, before anything is fetched, if the path cannot be written;
        TransferFailed, ResultExpired, and the output's own error (JobFailed) if it did not succeed.
        """
        target, output = _to_path(path), self._one_output(index, "save(path, index=number)")
        saved = await self._fetcher.save(self, output, target, FetchOptions(max_bytes, progress, verify))
        self._note_taken(output)
        return saved

    async def read(self, *, index: int | None = None, max_bytes: int | None = None, verify: bool = True) -> bytes:
        """Return an output's bytes; arguments and errors are those of `save`.

        Without `max_bytes`, more than 256 MiB are TransferFailed: save them, or pass a larger number.
        """
        output = self._one_output(index, "read(index=number)")
        data = await self._fetcher.read(self, output, FetchOptions(max_bytes, verify=verify))
        self._note_taken(output)
        return data

    def acknowledge(self) -> Awaitable[None]:
        """Note that you took the result, so that no client is given it again after a crash.

        Saving or reading all outputs does this, and so does an `on_result` handler that returns, unless the client was
        made with `acknowledge="manual"`. It need not be awaited: awaiting it waits until the store has noted it.
        """
        return Completed() if self._acknowledger is None else self._acknowledger.add(self.record)

    def note_handled(self) -> None:
        """Acknowledge the result after the result handlers returned, unless that is left to the user."""
        if self._acknowledger is not None and self._acknowledger.automatic:
            self.acknowledge()

    def _note_taken(self, output: Output) -> None:
        """Acknowledge the result once every output that succeeded was saved or read."""
        if self._acknowledger is None or not self._acknowledger.automatic:
            return
        self._taken.update(index for index, each in enumerate(self.outputs) if each is output)
        if len(self._taken) == sum(each.media is not None for each in self.outputs):
            self.acknowledge()

    def _one_output(self, index: int | None, call: str) -> Output:
        """Return the output that a call means: without an index the first one, with a warning if others are left."""
        # one input may have several outputs: then the first is the result
        if index is None and len(self.outputs) > 1 and len(self.record.inputs) != 1:
            log.warning(
                "job %s has %d outputs, one for each input, and the first was taken: "
                "`for number in range(len(result.outputs)): await result.%s`",
                self.key,
                len(self.outputs),
                call,
            )
        return self._output(index)

    def _output(self, index: int | None) -> Output:
        """Return the first successful output, or output `index`; raises its error if it did not succeed."""
        if index is not None and not isinstance(index, int):
            raise InvalidInput(f"index must be a whole number, counted from 0, not {type(index).__name__}")
        # a slice, so that an index out of range selects nothing; `or None`, because index -1 would end the slice at 0
        outputs = self.outputs if index is None else self.outputs[index : index + 1 or None]
        for output in outputs:
            if output.media is not None:
                return output
        for output in outputs:
            if output.error is not None:
                raise output.error
        raise self._failure()

    def _failure(self) -> JobFailed:
        """The error of a result without the output that was asked for, which is taken now if the job failed."""
        snapshot, message = self.snapshot, "the result has no such output"
        if snapshot.status is Status.FAILED:
            message = f"the job failed: {snapshot.reason or 'the provider gave no reason'}"
            if self._acknowledger is not None and self._acknowledger.automatic:
                self.acknowledge()
        return JobFailed(message, snapshot=snapshot, provider=self.provider, key=self.key, token=self.token)


def _to_path(path: str | PathLike[str]) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise InvalidInput(f"the path to save to must be a text or a path, not {type(path).__name__}") from None
