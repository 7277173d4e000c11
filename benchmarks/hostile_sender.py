"""Process that attacks a callback server on 127.0.0.1 with a mixture of hostile requests, each on a new connection.

Usage: python hostile_sender.py OPTIONS, which is a JSON object with

    port      of the server
    keys      live keys, to which one kind of requests sends forged deliveries
    rate      connections per second; 0 for as many as possible
    count     connections, after which it ends
    seconds   after which it ends at the latest
    threads   connections at the same time
    read      false: nothing is waited for, neither the connection nor an answer, so that the rate exceeds the server's
    mixed     false: plain POSTs only
    hold      if not 0: only opens this many connections that stay silent, or drip, and opens new ones for those closed

It prints one line of JSON: connections by status of the answer, and the seconds that it took.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from typing import Any

REOPEN_SECONDS = 5.0
BOMB = gzip.compress(b"\0" * (30 << 20))
UNFINISHED = " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
FORGED = b'{"status":200,"data":{"task_id":"t","state":1,"file":"https://evil.example/x"}}'


def post(path: str, body: bytes = b"{}", headers: str = "", method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def guess() -> str:
    return "/wm/" + secrets.token_urlsafe(24)


def hostile_requests(keys: list[str]) -> list[Any]:
    """One function per kind of request."""
    return [
        lambda: post(guess()),
        lambda: post(guess(), b"x" * 60_000),
        lambda: post(guess(), BOMB, "Content-Encoding: gzip\r\n"),
        lambda: post(guess(), b"{}", "Content-Type: " + "(" * 7000 + "\r\n"),
        lambda: post(guess(), b"", method="GET"),
        lambda: post("/wm/" + "../" * 500, b""),
        lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(40) + b"\r\n\r\n",
        lambda: b"POST " + guess().encode() + b" and more HTTP/9.9\r\n\r\n",
        lambda: f"POST {guess()}{UNFINISHED}".encode(),  # noqa: PLW0108 - a guess for each
        lambda: post(secrets.choice(keys), FORGED) if keys else b"",
    ]


class Attack:
    """Counts what the threads of one attack send and receive."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.statuses: Counter[str] = Counter()
        self.sent = 0
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.requests = hostile_requests([f"/wm/{key}" for key in options["keys"]])
        if not options["mixed"]:
            self.requests = self.requests[:1]

    def take(self) -> int | None:
        """The number of the next connection, at its time; None when the attack is over."""
        with self.lock:
            number, self.sent = self.sent, self.sent + 1
        if rate := self.options["rate"]:
            time.sleep(max(0.0, self.began + number / rate - time.monotonic()))
        over = number >= self.options["count"] or time.monotonic() - self.began > self.options["seconds"]
        return None if over else number

    def run(self) -> None:
        statuses: Counter[str] = Counter()
        while (number := self.take()) is not None:
            statuses[self.send(self.requests[number % len(self.requests)]())] += 1
        with self.lock:
            self.statuses += statuses

    def send(self, data: bytes) -> str:
        if not self.options["read"]:
            return self.send_blindly(data)
        try:
            with socket.create_connection(("127.0.0.1", self.options["port"]), timeout=10) as connection:
                connection.sendall(data)
                return connection.recv(200)[9:12].decode("latin-1") or "closed"
        except TimeoutError:
            return "timeout"
        except OSError:
            return "reset"

    def send_blindly(self, data: bytes) -> str:
        with socket.socket() as connection:
            connection.settimeout(0)
            connection.connect_ex(("127.0.0.1", self.options["port"]))  # on loopback it is made at once, or never
            try:
                connection.send(data)
            except OSError:
                return "not connected"  # the server's backlog is full
            return "sent"


def run_attack(options: dict[str, Any]) -> Counter[str]:
    attack = Attack(options)
    threads = [threading.Thread(target=attack.run) for _ in range(options["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return attack.statuses


async def hold_connections(options: dict[str, Any]) -> Counter[str]:
    """Half of the connections say nothing, half send one byte of a header every few seconds."""
    statuses: Counter[str] = Counter()

    async def hold(number: int) -> None:
        await asyncio.sleep(number / 1000)
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", options["port"])
                statuses["opened"] += 1
                if number % 2:
                    writer.write(b"POST /wm/x HTTP/1.1\r\nX: ")
                await reader.read()
                writer.close()
            except OSError:
                statuses["reset"] += 1
            await asyncio.sleep(REOPEN_SECONDS)

    tasks = [asyncio.create_task(hold(number)) for number in range(options["hold"])]
    await asyncio.sleep(options["seconds"])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return statuses


def main(options: dict[str, Any]) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 16_384), most))
    began = time.monotonic()
    statuses = asyncio.run(hold_connections(options)) if options["hold"] else run_attack(options)
    print(json.dumps({"statuses": statuses, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
