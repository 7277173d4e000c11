"""A real Redis on a Unix socket in a temporary folder; it can be killed, frozen and started again."""

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
from redis import Redis
from redis.exceptions import RedisError

from tests.support.http_server import free_port

# seconds: for the start of the server, and for its reply to a command
TIMEOUT = 10.0


class RedisServer:
    """A redis-server process that listens at `url`; if `persistent`, acknowledged writes survive `kill`."""

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
        """Start the process and wait until it answers; skip the test if redis-server is not installed."""
        program = shutil.which("redis-server")
        if program is None:
            reason = "these tests need a real Redis: apt-get install redis-server (7 or newer)"
            if os.environ.get("CI"):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        paths = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [program, *paths, "--save", "", "--logfile", str(self.folder / "log"), *self.options],
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + TIMEOUT
        # a server with a password answers NOAUTH
        while not self.execute("PING").startswith((b"+PONG", b"-NOAUTH")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"redis-server did not start: {(self.folder / 'log').read_text()[-500:]}", pytrace=False)
            time.sleep(0.01)

    def execute(self, command: str) -> bytes:
        """Return the beginning of the reply to one inline command, or nothing if the server does not answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            try:
                connection.connect(str(self.socket))
                connection.sendall(command.encode() + b"\r\n")
                return connection.recv(1 << 16)
            except OSError:
                return b""

    def info(self, field: str) -> str:
        """Return one field of INFO."""
        lines = self.execute("INFO everything").decode(errors="replace").splitlines()
        return next(line.partition(":")[2] for line in lines if line.startswith(f"{field}:"))

    def skip_quiet_time(self, prefix: str = "aiowatermark") -> None:
        """Let stores with this prefix open keys at once, as if they had been used on this server for long.

        Otherwise the first one would wait until a server without data is older than its lease.
        """
        self.execute(f'SET "{{{prefix}}}:server" {self.info("run_id")}')

    def kill(self) -> None:
        """Stop the process without a chance to save, as a power failure does."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def copy_files(self) -> Path:
        """Copy what is on the disk now, for `restart`."""
        copy = Path(tempfile.mkdtemp(prefix="copy-", dir=self.folder))
        for path in self._data_files():
            shutil.copytree(path, copy / path.name) if path.is_dir() else shutil.copy(path, copy)
        return copy

    def restart(self, copy: Path | None = None) -> None:
        """Kill and start the server, if there is a `copy` with these files in place of its own: the rest is lost."""
        self.kill()
        if copy is not None:
            for path in self._data_files():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(copy, self.folder, dirs_exist_ok=True)
        self.start()

    def _data_files(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.name in {"appendonlydir", "dump.rdb"}]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspend the process: it accepts connections and never replies."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class SentinelServer:
    """A Redis Sentinel on `port` that watches one primary, and alone decides on a failover after 0.3 seconds."""

    def __init__(self, service: str, primary_port: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aw-sentinel-"))
        self.port = free_port()
        lines = [
            f"port {self.port}",
            f"dir {self.folder}",
            f"sentinel monitor {service} 127.0.0.1 {primary_port} 1",
            f"sentinel down-after-milliseconds {service} 300",
            f"sentinel failover-timeout {service} 3000",
        ]
        (self.folder / "sentinel.conf").write_text("\n".join(lines))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            ["redis-server", str(self.folder / "sentinel.conf"), "--sentinel", "--logfile", str(self.folder / "log")],
            stdin=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def replicas(self, service: str) -> list[int]:
        """Return the ports of the replicas that it has found; none while it does not answer."""
        with Redis(port=self.port) as client:
            try:
                return [int(replica["port"]) for replica in client.sentinel_slaves(service)]
            except RedisError:
                return []
