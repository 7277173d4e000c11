"""SocketDeliveries: passes callbacks on between the processes that have one SQLite file open.

A load balancer, or `uvicorn --workers 4`, gives a callback to any worker, but only the one that waits for the job can
be woken by it. Each client therefore listens on a Unix socket of its own in the folder `<database>-callbacks`, and a
worker that receives a callback for a job it does not run sends it to all others, one connection and one line each:

    {"callback": "<hash of the key>", "content_type": "…", "body": "<base64>"}

Who waits for that callback is woken, the others ignore it. Nothing is stored: a callback is only a wake-up, and a lost
one costs its job an interval of polling. Only the user who owns the folder can connect.

A socket is renamed to its name once it listens, so a name that refuses connections belongs to a process that has died:
the client that finds it removes it. A path that is too long for the kernel (108 bytes) is reached through
`/proc/self/fd`. Without Unix sockets (Windows) nothing is passed on, and jobs are polled.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from attrs import define, field

from ...wire import Delivery

log = logging.getLogger("aiowatermark")

_SUFFIX = ".socket"
_MAX_PATH_BYTES = 100
_MAX_LINE = 256 << 10
_SECONDS = 5.0
"""Seconds for one exchange with another process."""

DeliveryListener = Callable[[str, Delivery], object]


@define(eq=False)
class SocketDeliveries:
    """The callbacks that one client passes to others on the same database, and gets from them, inside `async with`.

    `folder` belongs to the database; `listener(callback, delivery)` is called for each delivery of another client.
    """

    folder: Path
    listener: DeliveryListener
    _name: str = field(factory=lambda: secrets.token_hex(8) + _SUFFIX, init=False)
    _descriptor: int | None = field(default=None, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)

    async def __aenter__(self) -> Self:
        """Start listening; where that is impossible the log says so, and jobs are polled."""
        if hasattr(asyncio, "start_unix_server"):
            try:
                await self._listen()
            except OSError as error:
                await self.__aexit__()
                log.warning("callbacks are not passed on between processes: %s", error.strerror)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop listening."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            (self.folder / self._name).unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def publish(self, callback: str, delivery: Delivery) -> None:
        """Send a delivery to all other clients of the database; raises nothing."""
        if self._server is None:
            return
        body = b64encode(delivery.body).decode()
        message = {"callback": callback, "content_type": delivery.content_type, "body": body}
        line = json.dumps(message).encode() + b"\n"
        await asyncio.gather(*(self._send(name, line) for name in self._others()))

    async def _listen(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if len(os.fsencode(self.folder / self._name)) > _MAX_PATH_BYTES:
            self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        temporary = f"{self._name}.new"
        self._server = await asyncio.start_unix_server(self._receive, self._address(temporary), limit=_MAX_LINE)
        (self.folder / temporary).rename(self.folder / self._name)

    def _address(self, name: str) -> str:
        folder = self.folder if self._descriptor is None else f"/proc/self/fd/{self._descriptor}"
        return f"{folder}/{name}"

    def _others(self) -> list[str]:
        with suppress(OSError):
            names = [path.name for path in self.folder.iterdir()]
            return [name for name in names if name.endswith(_SUFFIX) and name != self._name]
        return []

    async def _send(self, name: str, line: bytes) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._address(name))
                try:
                    writer.write(line)
                    await reader.read()  # the other side closes when it has the line
                finally:
                    writer.close()
        except ConnectionRefusedError:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:  # also TimeoutError: that process hangs, or has just ended
            log.debug("a callback was not passed on to another process: %s", error)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                message = json.loads(await reader.readline())
            self.listener(message["callback"], Delivery(b64decode(message["body"]), message["content_type"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.debug("a message of another process could not be read: %s", error)
        finally:
            writer.close()
