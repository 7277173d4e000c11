"""Fork server: runs workers in forked children, several at once, and sends them signals.

A crash test needs a fresh process for each of hundreds of kills. Starting an interpreter and importing the SDK would
cost far more than the work that is interrupted, so this process imports everything once and then forks:

    stdin    one JSON command per line: {"id": n, "task": {…}} starts a child, {"id": n, "signal": s} sends it a signal
    stdout   for each child that has ended: {"id": n, "killed": by SIGKILL, "exit": code, "report": its own, or null}

This process has neither an event loop nor threads, so that a child starts from a clean state: `asyncio.run` there
creates the only loop, and the store the only thread. A child writes its report to a pipe; the end of the pipe is the
end of the child, and only then is it reaped. So a signal never goes to a process that is not a child of this one. A
child that fails in any other way than by a signal exits with 3 and has no report.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import pkgutil
import selectors
import signal
import sys
import traceback
from typing import Any

from attrs import define, field

from tests.end_to_end.recovery import worker


def import_all() -> None:
    """Import what workers use; the package imports most of it lazily, so each child would do it again."""
    importlib.import_module("redis.asyncio")
    for name in ("client", "providers", "stores", "transport"):
        package = importlib.import_module(f"aiowatermark.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def run_child(task: dict[str, Any], pipe: int) -> None:
    """Run the worker in the forked child, write its report to the pipe and exit; never returns normally."""
    os.write(pipe, json.dumps(asyncio.run(worker.run(task))).encode())
    # without the cleanup of the interpreter, which belongs to the parent
    os._exit(0)


@define
class Child:
    """A child that runs: its process, our end of its pipe, and what it has reported so far."""

    number: int
    pid: int
    pipe: int
    report: bytes = b""


@define
class ForkServer:
    """The children that run, and what is read from stdin but is no complete line yet."""

    selector: selectors.BaseSelector = field(factory=selectors.DefaultSelector)
    children: dict[int, Child] = field(factory=dict)
    rest: bytes = b""

    def serve(self) -> None:
        """Obey commands until stdin ends; then kill what still runs."""
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        open_ = True
        while open_:
            for key, _ in self.selector.select():
                if key.data is None:
                    open_ = self.read_commands()
                else:
                    self.read_report(key.data)
        for child in self.children.values():
            os.kill(child.pid, signal.SIGKILL)

    def read_commands(self) -> bool:
        """Read from stdin and obey complete lines; False at its end."""
        data = os.read(sys.stdin.fileno(), 1 << 16)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "task" in command:
                self.start(command["id"], command["task"])
            elif (child := self.children.get(command["id"])) is not None:
                os.kill(child.pid, command["signal"])
        return bool(data)

    def start(self, number: int, task: dict[str, Any]) -> None:
        """Fork a child that runs the task."""
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(read_end)
                run_child(task, write_end)
            except BaseException:  # noqa: BLE001 - reported by the exit code, and here
                traceback.print_exc()
            finally:
                # also after an exception: a child must never continue this loop
                sys.stderr.flush()
                os._exit(3)
        # the child's copy is then the only one, and its death is the end of the file
        os.close(write_end)
        child = self.children[number] = Child(number, pid, read_end)
        self.selector.register(read_end, selectors.EVENT_READ, child)

    def read_report(self, child: Child) -> None:
        """Read what a child reports; at the end of its pipe reap it and print the answer."""
        data = os.read(child.pipe, 1 << 16)
        child.report += data
        if data:
            return
        self.selector.unregister(child.pipe)
        os.close(child.pipe)
        del self.children[child.number]
        _, status = os.waitpid(child.pid, 0)
        answer = {
            "id": child.number,
            "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
            "exit": os.waitstatus_to_exitcode(status),
            "report": json.loads(child.report or b"null"),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    import_all()
    ForkServer().serve()
