"""Runs a page of docs/ as a reader would: saves its files, executes its shell blocks, compares what they print.

A block ends with a line of three backticks; a comment before it says more than its language does:

    <!-- file: NAME -->     the block is saved under this name; the next shell block finds it
    <!-- leave running -->  the shell block keeps a terminal; it is ready when its port accepts connections
    <!-- repeat -->         the shell block is executed until its output is as shown
    <!-- not run -->        the shell block needs the internet

A block of `text` directly behind a shell block is what that prints; "…" stands for any text. The ports 8700 and 8080
are replaced by free ones.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import define, evolve, field, frozen

from tests.support.http_server import free_port
from tests.support.processes import environment

TIMEOUT = 60.0
_MARK = r"^<!-- (file|leave running|repeat|not run)(?:: (\S+))? -->\n"
_BLOCK = re.compile(rf"(?:{_MARK})?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PORTS = ("8700", "8080")
_RETRY_SECONDS = 0.2


@frozen
class Block:
    """A block of a page: `mark` and `name` are from the comment before it, `output` from the `text` behind it."""

    language: str
    code: str
    mark: str | None = None
    name: str | None = None
    output: str | None = None


def read_page(document: Path) -> list[Block]:
    """Return the blocks of a page, in order, each shell block with the output that the page shows."""
    blocks: list[Block] = []
    for mark, name, language, code in _BLOCK.findall(document.read_text()):
        if language == "text" and blocks and blocks[-1].language == "sh" and blocks[-1].output is None:
            blocks[-1] = evolve(blocks[-1], output=code)
        else:
            blocks.append(Block(language, code, mark or None, name or None))
    return blocks


def matches(shown: str, printed: str) -> bool:
    """Whether a program printed what a page shows; "…" stands for any text."""
    pattern = ".*?".join(map(re.escape, shown.strip().split("…")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


@define(eq=False)
class Session:
    """The terminals of one reader, in one folder."""

    folder: Path
    ports: dict[str, str] = field(factory=lambda: {port: str(free_port()) for port in _PORTS})
    executed: int = 0
    _terminals: list[Process] = field(factory=list, init=False)

    async def follow(self, blocks: list[Block]) -> None:
        """Do what the blocks say, in order; fails where a command fails or prints something else."""
        for block in blocks:
            code = self._with_ports(block.code)
            if block.mark == "file" and block.name is not None:
                (self.folder / block.name).write_text(code)
            elif block.language == "sh" and block.mark != "not run":
                await self._execute(block, code)
                self.executed += 1

    async def _execute(self, block: Block, code: str) -> None:
        if block.mark == "leave running":
            return await self._leave_running(code)
        async with asyncio.timeout(TIMEOUT):
            while True:
                process = await self._start(code)
                printed = (await process.communicate())[0].decode()
                fits = process.returncode == 0 and (block.output is None or matches(block.output, printed))
                if fits or block.mark != "repeat":
                    break
                await asyncio.sleep(_RETRY_SECONDS)
        assert fits, f"{code}\nprinted:\n{printed}\nthe page shows:\n{block.output}"
        return None

    async def _leave_running(self, code: str) -> None:
        process = await self._start(code, output=subprocess.DEVNULL)
        self._terminals.append(process)
        (port,) = [port for port in self.ports.values() if re.search(rf"\b{port}\b", self._served(code))]
        async with asyncio.timeout(TIMEOUT):
            while not await _accepts(int(port)):
                assert process.returncode is None, f"{code}\nhas ended"
                await asyncio.sleep(_RETRY_SECONDS)

    def _served(self, code: str) -> str:
        """The text that names the port: the command, or the program that it starts."""
        command = code.strip().splitlines()[-1]
        program = re.search(r"python (\S+\.py)", command)
        return (self.folder / program[1]).read_text() if program else command

    async def _start(self, code: str, *, output: int = PIPE) -> Process:
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", code),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=STDOUT,
            cwd=self.folder,
            env=environment(PATH=programs, PYTHONUNBUFFERED="1"),
            start_new_session=True,
        )

    def _with_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    async def close(self) -> None:
        """End what was left running, with what it has started."""
        for process in reversed(self._terminals):
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(TIMEOUT):
                    await process.wait()
            finally:
                _kill_group(process.pid)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@asynccontextmanager
async def open_session(folder: Path) -> AsyncIterator[Session]:
    """A session in an empty folder; what it leaves running ends with it."""
    session = Session(folder)
    try:
        yield session
    finally:
        await session.close()
