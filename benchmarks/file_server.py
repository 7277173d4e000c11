"""Dewatermark's video API and its storage host, reduced to what moves bytes: uploads are discarded, results generated.

A process of its own, a thread a connection, bare sockets: it costs little beside the client that is measured.
It listens on 127.0.0.1 only and ends when whoever started it goes away, or after ten minutes.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LIFE = 600.0
_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)


class Depot:
    """Answers on one port; `storage` is where its tickets lead, `answer` how many seconds a look takes."""

    def __init__(self, storage: str, size: int, answer: float) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.origin = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.storage = storage or self.origin
        self.size = size
        self.answer = answer

    def serve(self) -> None:
        """A thread for everyone who comes."""
        while True:
            connection, _ = self.listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            buffer = memoryview(bytearray(_CHUNK))
            held = b""
            while True:
                while b"\r\n\r\n" not in held:
                    if not (came := connection.recv(1 << 16)):
                        return
                    held += came
                head, _, held = held.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                pairs = (line.partition(":") for line in lines[1:])
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                left = int(headers.get("content-length", 0)) - len(held)
                if headers.get("expect"):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                held = b""
                while left > 0:
                    left -= connection.recv_into(buffer, min(left, _CHUNK)) or left
                self._answer(connection, method, target)

    def _answer(self, connection: socket.socket, method: str, target: str) -> None:
        if target.startswith("/down/"):
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {self.size}\r\nETag: "depot"\r\n\r\n'
            connection.sendall(head.encode())
            for start in range(0, self.size, _CHUNK):
                connection.sendall(_ZEROS[: self.size - start])
            return
        if method == "GET":
            time.sleep(self.answer)
        body = json.dumps(self._told(target)).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    def _told(self, target: str) -> dict[str, object]:
        if target.endswith("/upload"):
            return {"task_id": "moved", "upload_signed_url": f"{self.storage}/up/film?sig=1", "status": "CREATED"}
        if target.endswith("/moved"):
            link = f"{self.storage}/down/film?sig=1"
            return {"task_id": "moved", "status": "COMPLETED", "download_signed_url": link, "duration": 51.3}
        return {"task_id": target.rpartition("/")[2], "status": "PROCESSING", "progress": 0.5}


@contextmanager
def running(*, storage: str = "", size: int = 0, answer: float = 0.0) -> Iterator[str]:
    """The origin of a depot in another process, gone at the end."""
    command = [sys.executable, __file__, f"--storage={storage}", f"--size={size}", f"--answer={answer}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.communicate(timeout=10)


def main() -> None:
    """Serve until left alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--answer", type=float, default=0.0)
    options = parser.parse_args()
    depot = Depot(options.storage, options.size, options.answer)
    threading.Thread(target=depot.serve, daemon=True).start()
    end = threading.Timer(_LIFE, sys.stdin.close)
    end.daemon = True
    end.start()
    print(depot.origin, flush=True)
    with suppress(ValueError):
        sys.stdin.read()


if __name__ == "__main__":
    main()
