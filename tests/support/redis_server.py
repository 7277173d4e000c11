"""A private Redis for tests: no port of its own, no file left behind; it can be killed, frozen and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

READY = 10.0


class RedisServer:
    """`url` is where it listens; `persistent`: what was acknowledged survives a kill."""

    def __init__(self, *options: str, persistent: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aw-redis-"))
        self.socket = self.folder / "s"
        self.options = [*options, "--appendonly", "yes" if persistent else "no", "--appendfsync", "always"]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it; returns when it answers."""
        program = shutil.which("redis-server")
        if program is None:
            wanted = "these tests need a real Redis: apt-get install redis-server (7 or newer)"
            if os.environ.get("CI"):
                pytest.fail(wanted, pytrace=False)
            pytest.skip(wanted)
        where = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [program, *where, "--save", "", "--logfile", str(self.folder / "log"), *self.options],
            stdin=subprocess.DEVNULL,
        )
        until = time.monotonic() + READY
        while not self.ask("PING").startswith((b"+PONG", b"-NOAUTH")):
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                pytest.fail(f"redis-server did not start: {(self.folder / 'log').read_text()[-500:]}", pytrace=False)
            time.sleep(0.01)

    def ask(self, line: str) -> bytes:
        """The beginning of its answer to one inline command; nothing where it does not answer."""
        with socket.socket(socket.AF_UNIX) as way:
            way.settimeout(READY)
            try:
                way.connect(str(self.socket))
                way.sendall(line.encode() + b"\r\n")
                return way.recv(1 << 16)
            except OSError:
                return b""

    def kill(self) -> None:
        """The machine went off."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and says nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


_shared: list[RedisServer] = []


def shared_server() -> RedisServer:
    """One Redis for all tests, started when the first asks for it; each takes a prefix of its own."""
    if not _shared:
        server = RedisServer()
        server.start()
        _shared.append(server)
    return _shared[0]


def stop_shared_server() -> None:
    """With the last test."""
    while _shared:
        _shared.pop().__exit__(None, None, None)


@pytest.fixture
def redis_server() -> RedisServer:
    """The Redis that all tests share."""
    return shared_server()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis that forgets everything when it is killed, which a test may do."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def lasting_server() -> Iterator[RedisServer]:
    """A Redis that keeps an append-only file."""
    with RedisServer(persistent=True) as server:
        yield server
