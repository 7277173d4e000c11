"""What came of a job, and the ways to bring it home."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from .errors import JobFailed
from .jobs import Output, Record, Snapshot
from .media.base import Media, ProgressCallback
from .media.memory import Link


class ResultFetcher(Protocol):
    """Brings a result's bytes home."""

    async def save(
        self, result: Result, media: Media, path: Path, max_bytes: int | None, progress: ProgressCallback | None
    ) -> Path:
        """Stream it into a file that appears when it is whole."""
        ...

    async def read(self, result: Result, media: Media, max_bytes: int | None) -> bytes:
        """Fetch it into memory."""
        ...


@frozen(eq=False)
class Result:
    """What came of a job: its `outputs`, one per input in order, and the ways to bring them home."""

    record: Record
    _fetcher: ResultFetcher = field(repr=False)

    @property
    def key(self) -> str:
        """The job's name in the store."""
        return self.record.key

    @property
    def provider(self) -> str:
        """Whose job it was."""
        return self.record.provider

    @property
    def snapshot(self) -> Snapshot:
        """The last observation."""
        return self.record.snapshot

    @property
    def token(self) -> str:
        """A text that brings the result back in any process, while the provider keeps it."""
        return self.record.token

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One per input, in the inputs' order; each has `media` or `error`."""
        return self.snapshot.outputs

    @property
    def url(self) -> str | None:
        """The first successful output's link; None where the provider answers with bytes."""
        media = self._media(None)
        return media.url if isinstance(media, Link) else None

    async def save(
        self,
        path: str | PathLike[str],
        *,
        index: int | None = None,
        max_bytes: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Path:
        """Write an output (the first successful one, or number `index`) to `path`; gives the path.

        It is streamed beside its target and moved into place when its length is right. A cut download resumes,
        an expired link is asked for anew once. `progress(got, total or None)` is called as it comes. Raises
        InvalidInput for a path that cannot be written, TransferFailed, ResultExpired.
        """
        return await self._fetcher.save(self, self._media(index), Path(path), max_bytes, progress)

    async def read(self, *, index: int | None = None, max_bytes: int | None = None) -> bytes:
        """An output's bytes, whole, in memory; raises as `save` does."""
        return await self._fetcher.read(self, self._media(index), max_bytes)

    def _media(self, index: int | None) -> Media:
        chosen = self.outputs if index is None else self.outputs[index : index + 1 or None]
        for output in chosen:
            if output.media is not None:
                return output.media
        for output in chosen:
            if output.error is not None:
                raise output.error
        raise JobFailed("the result has no such output")
