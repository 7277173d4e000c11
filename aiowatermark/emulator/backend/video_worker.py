"""Where videos are restored: each in a process of its own, which tells how far it is and can be ended at any time."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from attrs import define, field

from ..extras import missing_extra
from ..restoration.video.mp4 import duration_of
from ..storage.objects import ObjectStore
from .limits import FailureKind, JobFailure
from .tasks import TaskOutput
from .threads import ThreadPool

_WORKER = "aiowatermark.emulator.restoration.video.worker"


@define
class VideoProgress:
    """How far a video is, from 0 to 1."""

    value: float = 0.0

    def __call__(self) -> float:
        """The value now."""
        return self.value


@define
class VideoWorker:
    """Restores two videos at a time, or with `restoring` off hands every file back as it came."""

    restoring: bool
    mark: bytes | None = field(repr=False)
    objects: ObjectStore
    file_pool: ThreadPool
    _slots: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(2))

    async def process(self, provider: str, source: Path, mask: bytes | None, progress: VideoProgress) -> TaskOutput:
        """The restored video on the storage host, or the failure."""
        if not self.restoring:
            return await self._store_output(provider, source, {})
        if sentence := missing_extra("av"):
            return TaskOutput(failure=JobFailure(FailureKind.INTERNAL, sentence))
        try:
            async with self._slots:
                target, report = await self._run_process(source, mask, progress)
        except JobFailure as failure:
            return TaskOutput(failure=failure)
        return await self._store_output(provider, target, report)

    async def _run_process(
        self, source: Path, mask: bytes | None, progress: VideoProgress
    ) -> tuple[Path, dict[str, float]]:
        target = self.objects.new_file("mp4")
        paths = [
            source,
            target,
            await self._write_temporary(mask),
            await self._write_temporary(None if mask else self.mark),
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", _WORKER, *map(str, paths)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            return target, await _listen(process, progress)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _write_temporary(self, picture: bytes | None) -> Path | str:
        if picture is None:
            return "-"
        path = self.objects.new_file("png")
        await self.file_pool.run(path.write_bytes, picture)
        return path

    async def _store_output(self, provider: str, path: Path, report: dict[str, float]) -> TaskOutput:
        size = (await self.file_pool.run(path.stat)).st_size
        duration = report["duration"] if report else await self.file_pool.run(duration_of, path)
        stored = self.objects.put(provider, path, "mp4", size)
        return TaskOutput(stored, found=bool(report.get("has_watermark")), duration=duration)


async def _listen(process: asyncio.subprocess.Process, progress: VideoProgress) -> dict[str, float]:
    """Read what the worker tells, line by line, until it tells what came of it. Raises Failure."""
    if process.stdout is None:
        raise JobFailure(FailureKind.INTERNAL, "The worker cannot be heard.")
    async for line in process.stdout:
        told = json.loads(line)
        if "duration" in told:
            return dict(told)
        if "error" in told:
            raise JobFailure(FailureKind.PICTURE, told["error"])
        progress.value = float(told["progress"])
    raise JobFailure(FailureKind.INTERNAL, "The worker ended without a result.")
