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
from ..storage.objects import Shelf
from .limits import Failure, Trouble
from .tasks import Made
from .threads import Threads

_WORKER = "aiowatermark.emulator.restoration.video.worker"


@define
class Progress:
    """How far a video is, from 0 to 1."""

    value: float = 0.0

    def __call__(self) -> float:
        """The value now."""
        return self.value


@define
class Studio:
    """Restores two videos at a time, or with `restoring` off hands every file back as it came."""

    restoring: bool
    mark: bytes | None = field(repr=False)
    shelf: Shelf
    files: Threads
    _places: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(2))

    async def make(self, provider: str, source: Path, mask: bytes | None, progress: Progress) -> Made:
        """The restored video on the storage host, or the failure."""
        if not self.restoring:
            return await self._kept(provider, source, {})
        if sentence := missing_extra("av"):
            return Made(failure=Failure(Trouble.INTERNAL, sentence))
        try:
            async with self._places:
                target, report = await self._work(source, mask, progress)
        except Failure as failure:
            return Made(failure=failure)
        return await self._kept(provider, target, report)

    async def _work(self, source: Path, mask: bytes | None, progress: Progress) -> tuple[Path, dict[str, float]]:
        target = self.shelf.new_file("mp4")
        paths = [source, target, await self._file(mask), await self._file(None if mask else self.mark)]
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

    async def _file(self, picture: bytes | None) -> Path | str:
        if picture is None:
            return "-"
        path = self.shelf.new_file("png")
        await self.files.run(path.write_bytes, picture)
        return path

    async def _kept(self, provider: str, path: Path, report: dict[str, float]) -> Made:
        size = (await self.files.run(path.stat)).st_size
        duration = report["duration"] if report else await self.files.run(duration_of, path)
        stored = self.shelf.keep(provider, path, "mp4", size)
        return Made(stored, found=bool(report.get("has_watermark")), duration=duration)


async def _listen(process: asyncio.subprocess.Process, progress: Progress) -> dict[str, float]:
    """Read what the worker tells, line by line, until it tells what came of it. Raises Failure."""
    if process.stdout is None:
        raise Failure(Trouble.INTERNAL, "The worker cannot be heard.")
    async for line in process.stdout:
        told = json.loads(line)
        if "duration" in told:
            return dict(told)
        if "error" in told:
            raise Failure(Trouble.PICTURE, told["error"])
        progress.value = float(told["progress"])
    raise Failure(Trouble.INTERNAL, "The worker ended without a result.")
