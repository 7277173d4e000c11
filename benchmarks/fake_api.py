"""A server in a process of its own that speaks just enough PicWish and Kaze to be measured against.

It does no work, keeps no body, answers a task's first `looks` looks with "not yet" and counts what it is asked.
It listens on 127.0.0.1 only and ends when whoever started it goes away, or after ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.request import urlopen

from aiohttp import web
from attrs import frozen

PICWISH = "/api/tasks/visual/external/watermark-remove"
KAZE_SUBMIT = "/api/ext/v1/submit_watermark_removal"
KAZE_LOOK = "/api/ext/v1/get_task_result"
_LIFE = 600.0
_BLOCK = bytes(1 << 18)


class Stub:
    """The handlers; `looks` below 0: no task ever ends."""

    def __init__(self, looks: int, result_bytes: int) -> None:
        self.looks = looks
        self.result_bytes = result_bytes
        self.origin = ""
        self.counts: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    async def _accepted(self, request: web.Request) -> str:
        async for block in request.content.iter_any():
            self.counts["bytes"] += len(block)
        self.counts["submits"] += 1
        return f"task-{self.counts['submits']:08d}"

    def _done(self, task_id: str) -> bool:
        self.counts["looks"] += 1
        self.seen[task_id] += 1
        return 0 <= self.looks < self.seen[task_id]

    @property
    def link(self) -> str:
        return f"{self.origin}/result.jpg"

    async def picwish_submit(self, request: web.Request) -> web.StreamResponse:
        return _json({"status": 200, "message": "success", "data": {"task_id": await self._accepted(request)}})

    async def picwish_look(self, request: web.Request) -> web.StreamResponse:
        task_id = request.match_info["task_id"]
        done = self._done(task_id)
        data = {
            "task_id": task_id,
            "state": 1 if done else 4,
            "progress": 100 if done else 50,
            "file": self.link if done else "",
            "state_detail": "Complete" if done else "Processing",
            "created_at": 1684829742,
            "processed_at": 1684829743,
            "completed_at": 1684829745 if done else 0,
            "time_elapsed": "2.31",
            "image_width": 1024,
            "image_height": 768,
        }
        return _json({"status": 200, "message": "success", "data": data})

    async def kaze_submit(self, request: web.Request) -> web.StreamResponse:
        return _json({"code": 0, "data": {"task_id": await self._accepted(request)}})

    async def kaze_look(self, request: web.Request) -> web.StreamResponse:
        task_id = json.loads(await request.read())["task_id"]
        done = self._done(task_id)
        images = [{"url": self.link, "width": 1024, "height": 768}] if done else None
        return _json({"data": {"status": "success" if done else "processing", "images": images, "task_id": task_id}})

    async def result(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(self.result_bytes), "ETag": '"stub"'})
        await answer.prepare(request)
        for start in range(0, self.result_bytes, len(_BLOCK)):
            await answer.write(_BLOCK[: self.result_bytes - start])
        await answer.write_eof()
        return answer

    async def counted(self, _: web.Request) -> web.StreamResponse:
        return _json(dict(self.counts))

    async def serve(self) -> None:
        """Listen, say the address, and stay until stdin ends."""
        app = web.Application()
        app.router.add_post(PICWISH, self.picwish_submit)
        app.router.add_get(PICWISH + "/{task_id}", self.picwish_look)
        app.router.add_post(KAZE_SUBMIT, self.kaze_submit)
        app.router.add_post(KAZE_LOOK, self.kaze_look)
        app.router.add_get("/result.jpg", self.result)
        app.router.add_get("/counts", self.counted)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
            await site.start()
            self.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
            print(self.origin, flush=True)
            await _until_left()
        finally:
            await runner.cleanup()


async def _until_left() -> None:
    left = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, left.set)
    with suppress(TimeoutError):
        await asyncio.wait_for(left.wait(), _LIFE)
    asyncio.get_running_loop().remove_reader(sys.stdin)


def _json(value: object) -> web.Response:
    return web.Response(text=json.dumps(value), content_type="application/json")


@frozen
class Running:
    """A stub that runs: where it is, and what it was asked so far."""

    origin: str

    def counts(self) -> Counter[str]:
        """How often it was asked what: `submits`, `looks`, and `bytes` of submits' bodies."""
        with urlopen(f"{self.origin}/counts") as answer:
            return Counter(json.load(answer))


@contextmanager
def running(*, looks: int = 2, result_bytes: int = 0) -> Iterator[Running]:
    """A stub in another process, gone at the end."""
    command = [sys.executable, __file__, f"--looks={looks}", f"--result-bytes={result_bytes}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process.stdout.readline().strip() if process.stdout else "")
        finally:
            process.communicate(timeout=10)


def main() -> None:
    """Serve until left alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looks", type=int, default=2)
    parser.add_argument("--result-bytes", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(Stub(options.looks, options.result_bytes).serve())


if __name__ == "__main__":
    main()
