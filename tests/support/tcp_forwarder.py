"""A TCP forwarder whose target a test changes, as a DNS entry or a floating address does in a failover."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class TcpForwarder:
    """Forwards connections to `target`, a port on 127.0.0.1; a change affects new connections only."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1")
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()

    @property
    def connections(self) -> int:
        return len(self._open)

    async def cut(self, count: int | None = None) -> None:
        """Close the oldest connections, all unless a `count` is given."""
        tasks = list(self._open)[:count]
        for task in tasks:
            for writer in self._open[task]:
                writer.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers = self._open[task] = [writer]
        try:
            with suppress(OSError):
                to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
                writers.append(to_writer)
                await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))
        finally:
            for each in self._open.pop(task):
                each.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
