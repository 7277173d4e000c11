"""Process that POSTs callbacks to a port on 127.0.0.1, several at a time, each over a connection of its own.

Usage: python callback_sender.py PORT < keys. POSTs once to /wm/KEY for each key and exits with 0 when every POST was
answered 200.
"""

from __future__ import annotations

import asyncio
import sys

AT_ONCE = 16
TIMEOUT = 300.0
BODY = b'{"status":200,"data":{"task_id":"0123456789","state":1,"progress":100,"file":"https://x.example/a.jpg"}}'


async def send_keys(port: int, keys: list[str]) -> None:
    """Send callbacks one after the other."""
    for key in keys:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /wm/{key} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
        if b" 200 " not in await reader.read():
            raise SystemExit("a callback was not answered with 200")
        writer.close()


async def main() -> None:
    port, keys = int(sys.argv[1]), sys.stdin.read().split()
    await asyncio.gather(*(send_keys(port, keys[start::AT_ONCE]) for start in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(), TIMEOUT))
