"""POSTs callbacks to a port on 127.0.0.1 over a few kept-alive connections, from a process of its own."""

from __future__ import annotations

import asyncio
import sys

CONNECTIONS = 16
BODY = b'{"status":200,"data":{"task_id":"0123456789","state":1,"progress":100,"file":"https://x.example/a.jpg"}}'


async def connection(port: int, keys: list[str]) -> None:
    """One connection's share; it is opened anew where the server has closed it."""
    left = list(keys)
    while left:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while left:
                head = f"POST /wm/{left[-1]} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                writer.write(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
                if b" 200 " not in await reader.readuntil(b"\r\n\r\n"):
                    raise SystemExit("a callback was not acknowledged")
                left.pop()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            continue
        finally:
            writer.close()


async def main() -> None:
    port, keys = int(sys.argv[1]), sys.stdin.read().split()
    await asyncio.gather(*(connection(port, keys[start::CONNECTIONS]) for start in range(CONNECTIONS)))


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(), 300))
