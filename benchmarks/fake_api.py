"""Server that implements as much of PicWish and Kaze as the benchmarks need, in a process of its own.

It restores nothing, keeps no request body, reports each task as running for its first `polls` polls, and counts the
requests. It listens on 127.0.0.1 only and exits when its stdin is closed (the parent has exited) or after ten minutes.
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
KAZE_QUERY = "/api/ext/v1/get_task_result"
MAX_LIFETIME = 600.0
BLOCK = bytes(1 << 18)


class FakeApi:
    """The request handlers.

    `polls`: polls of a task that are answered "running" before it is done; below 0, no task is ever done.
    `result_bytes`: size of the result file.
    """

    def __init__(self, polls: int, result_bytes: int) -> None:
        self.polls = polls
        self.result_bytes = result_bytes
        self.origin = ""
        self.counts: Counter[str] = Counter()
        self.polls_by_task: Counter[str] = Counter()

    @property
    def result_url(self) -> str:
        return f"{self.origin}/result.jpg"

    async def _accept(self, request: web.Request) -> str:
        async for block in request.content.iter_any():
            self.counts["bytes"] += len(block)
        self.counts["submissions"] += 1
        return f"task-{self.counts['submissions']:08d}"

    def _poll(self, task_id: str) -> bool:
        self.counts["polls"] += 1
        self.polls_by_task[task_id] += 1
        return 0 <= self.polls < self.polls_by_task[task_id]

    async def picwish_submit(self, request: web.Request) -> web.StreamResponse:
        return _json({"status": 200, "message": "success", "data": {"task_id": await self._accept(request)}})

    async def picwish_query(self, request: web.Request) -> web.StreamResponse:
        task_id = request.match_info["task_id"]
        done = self._poll(task_id)
        data = {
            "task_id": task_id,
            "state": 1 if done else 4,
            "progress": 100 if done else 50,
            "file": self.result_url if done else "",
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
        return _json({"code": 0, "data": {"task_id": await self._accept(request)}})

    async def kaze_query(self, request: web.Request) -> web.StreamResponse:
        task_id = json.loads(await request.read())["task_id"]
        done = self._poll(task_id)
        images = [{"url": self.result_url, "width": 1024, "height": 768}] if done else None
        return _json({"data": {"status": "success" if done else "processing", "images": images, "task_id": task_id}})

    async def result(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(self.result_bytes), "ETag": '"fake"'})
        await response.prepare(request)
        for start in range(0, self.result_bytes, len(BLOCK)):
            await response.write(BLOCK[: self.result_bytes - start])
        await response.write_eof()
        return response

    async def report_counts(self, _: web.Request) -> web.StreamResponse:
        return _json(dict(self.counts))

    async def serve(self) -> None:
        """Listen, print the origin, and serve until stdin is closed."""
        app = web.Application()
        app.router.add_post(PICWISH, self.picwish_submit)
        app.router.add_get(PICWISH + "/{task_id}", self.picwish_query)
        app.router.add_post(KAZE_SUBMIT, self.kaze_submit)
        app.router.add_post(KAZE_QUERY, self.kaze_query)
        app.router.add_get("/result.jpg", self.result)
        app.router.add_get("/counts", self.report_counts)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
            await site.start()
            self.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
            print(self.origin, flush=True)
            await _wait_for_stdin_to_close()
        finally:
            await runner.cleanup()


async def _wait_for_stdin_to_close() -> None:
    closed = asyncio.Event()
    # the parent writes nothing: stdin becomes readable only at its end
    asyncio.get_running_loop().add_reader(sys.stdin, closed.set)
    with suppress(TimeoutError):
        await asyncio.wait_for(closed.wait(), MAX_LIFETIME)
    asyncio.get_running_loop().remove_reader(sys.stdin)


def _json(value: object) -> web.Response:
    return web.Response(text=json.dumps(value), content_type="application/json")


@frozen
class RunningApi:
    """A fake API in another process."""

    origin: str

    def counts(self) -> Counter[str]:
        """Return the number of `submissions`, of `polls`, and of `bytes` in the bodies of submissions so far."""
        with urlopen(f"{self.origin}/counts") as response:
            return Counter(json.load(response))


@contextmanager
def run_in_subprocess(*, polls: int = 2, result_bytes: int = 0) -> Iterator[RunningApi]:
    """Run a fake API in another process."""
    command = [sys.executable, __file__, f"--polls={polls}", f"--result-bytes={result_bytes}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield RunningApi(process.stdout.readline().strip() if process.stdout else "")
        finally:
            process.communicate(timeout=10)  # closes its stdin, which ends it


def main() -> None:
    """Serve until stdin is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", type=int, default=2)
    parser.add_argument("--result-bytes", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(FakeApi(options.polls, options.result_bytes).serve())


if __name__ == "__main__":
    main()
