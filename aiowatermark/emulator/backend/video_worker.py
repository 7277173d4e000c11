"""Video worker: restores each video in a process of its own, which reports progress and can be killed at any time.

Why a process and not a thread: restoring a video is CPU-bound for seconds to minutes (`cv2.inpaint` alone takes 50 ms
per megapixel at 2 % masked), and a thread cannot be stopped, so that closing the emulator would have to wait for it.

The process is started with four paths, SOURCE TARGET MASK MARK, `-` standing for none; the mark is passed only without
a mask. It writes JSON lines to its standard output:

    {"progress": 0.4}                               any number of times, about 20 per second
    {"has_watermark": true, "duration": 51.3}       last line: TARGET is complete; seconds
    {"error": "..."}                                last line: the video cannot be restored

    outcome                                         task output
    duration line                                   TARGET, registered as an object of the storage host
    error line                                      failure: invalid image
    end of output without either                    failure: internal (the process crashed or was killed)
    PyAV is not installed                           failure: internal; no process is started

Invariants: at most two processes run at the same time, further videos wait for a slot; no process outlives `process`,
which kills it and waits for it on an error and on cancellation. A killed process may leave an incomplete TARGET: it
was never registered, and the emulator's directory is deleted when the emulator closes.

With `restoring` off, each file is stored unchanged and no process is started.
"""

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
# to find the interpreter, libraries and temporary folders, and to show texts
_WORKER_VARIABLES = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "PYTHONDEVMODE", "PYTHONDONTWRITEBYTECODE"),
)
_MAX_PROCESSES = 2


@define
class VideoProgress:
    """The progress of the work on one video, from 0 to 1."""

    value: float = 0.0

    def __call__(self) -> float:
        """Return the current value."""
        return self.value


@define
class VideoWorker:
    """Restores videos; with `restoring` off it stores each file unchanged."""

    restoring: bool
    mark: bytes | None = field(repr=False)
    objects: ObjectStore
    file_pool: ThreadPool
    _slots: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(_MAX_PROCESSES))

    async def process(self, provider: str, source: Path, mask: bytes | None, progress: VideoProgress) -> TaskOutput:
        """Return the restored video on the storage host, or the failure; update `progress` meanwhile."""
        if not self.restoring:
            return await self._store_output(provider, source, {})
        if message := missing_extra("av"):
            return TaskOutput(failure=JobFailure(FailureKind.INTERNAL, message))
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
        mask_path = await self._write_temporary(mask)
        mark_path = await self._write_temporary(None if mask else self.mark)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", _WORKER, str(source), str(target), str(mask_path), str(mark_path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=_worker_environment(),
        )
        try:
            return target, await _read_report(process, progress)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _write_temporary(self, image: bytes | None) -> Path | str:
        if image is None:
            return "-"
        path = self.objects.new_file("png")
        await self.file_pool.run(path.write_bytes, image)
        return path

    async def _store_output(self, provider: str, path: Path, report: dict[str, float]) -> TaskOutput:
        size = (await self.file_pool.run(path.stat)).st_size
        duration = report["duration"] if report else await self.file_pool.run(duration_of, path)
        stored = self.objects.put(provider, path, "mp4", size)
        return TaskOutput(stored, found=bool(report.get("has_watermark")), duration=duration)


def _worker_environment() -> dict[str, str]:
    """Return the variables that a worker needs: it decodes videos of strangers, so it gets no API keys."""
    passed = {name: os.environ[name] for name in _WORKER_VARIABLES if name in os.environ}
    # the worker must import the same package, also from a source tree that is not installed
    return {**passed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


async def _read_report(process: asyncio.subprocess.Process, progress: VideoProgress) -> dict[str, float]:
    """Read the worker's lines, update `progress`, and return the last line. Raises JobFailure."""
    if process.stdout is None:
        raise JobFailure(FailureKind.INTERNAL, "The worker process has no standard output.")
    async for line in process.stdout:
        message = json.loads(line)
        if "duration" in message:
            return dict(message)
        if "error" in message:
            raise JobFailure(FailureKind.IMAGE, message["error"])
        progress.value = float(message["progress"])
    raise JobFailure(FailureKind.INTERNAL, "The worker process ended without a result.")
