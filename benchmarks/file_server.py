"""Server of Dewatermark's video API and its storage host, reduced to moving bytes.

Uploads are read and discarded; downloads are zeros. It runs in a process of its own, with one thread and plain sockets
per connection, so that it uses little CPU beside the client that is measured. It listens on 127.0.0.1 only and exits
when its stdin is closed (the parent has exited) or after ten minutes.
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

MAX_LIFETIME = 600.0
CHUNK = 1 << 20
ZEROS = bytes(CHUNK)


class FileServer:
    """Serves one port.

    `storage`: origin of the signed URLs it hands out (default: itself). `size`: bytes of each download. `latency`:
    seconds before each GET of a task is answered.
    """

    def __init__(self, storage: str, size: int, latency: float) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.origin = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.storage = storage or self.origin
        self.size = size
        self.latency = latency

    def serve(self) -> None:
        """Accept connections for ever, each served by a thread."""
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            discarded = memoryview(bytearray(CHUNK))
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    if not (data := connection.recv(1 << 16)):
                        return
                    received += data
                head, _, received = received.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                pairs = (line.partition(":") for line in lines[1:])
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                unread = int(headers.get("content-length", 0)) - len(received)
                if headers.get("expect"):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                received = b""
                while unread > 0:
                    # recv_into returns 0 at the end of the stream: `or unread` then ends the loop
                    unread -= connection.recv_into(discarded, min(unread, CHUNK)) or unread
                self._respond(connection, method, target)

    def _respond(self, connection: socket.socket, method: str, target: str) -> None:
        if target.startswith("/down/"):
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {self.size}\r\nETag: "video"\r\n\r\n'
            connection.sendall(head.encode())
            for start in range(0, self.size, CHUNK):
                connection.sendall(ZEROS[: self.size - start])
            return
        if method == "GET":
            time.sleep(self.latency)
        body = json.dumps(self._task(target)).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    def _task(self, target: str) -> dict[str, object]:
        if target.endswith("/upload"):
            return {"task_id": "done", "upload_signed_url": f"{self.storage}/up/video?sig=1", "status": "CREATED"}
        if target.endswith("/done"):
            url = f"{self.storage}/down/video?sig=1"
            return {"task_id": "done", "status": "COMPLETED", "download_signed_url": url, "duration": 51.3}
        return {"task_id": target.rpartition("/")[2], "status": "PROCESSING", "progress": 0.5}


@contextmanager
def run_in_subprocess(*, storage: str = "", size: int = 0, latency: float = 0.0) -> Iterator[str]:
    """Run a file server in another process; yields its origin."""
    command = [sys.executable, __file__, f"--storage={storage}", f"--size={size}", f"--latency={latency}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.communicate(timeout=10)  # closes its stdin, which ends it


def main() -> None:
    """Print the origin, then serve until stdin is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    options = parser.parse_args()
    server = FileServer(options.storage, options.size, options.latency)
    threading.Thread(target=server.serve, daemon=True).start()
    timer = threading.Timer(MAX_LIFETIME, sys.stdin.close)
    timer.daemon = True
    timer.start()
    print(server.origin, flush=True)
    with suppress(ValueError):  # the timer closed stdin
        sys.stdin.read()


if __name__ == "__main__":
    main()
