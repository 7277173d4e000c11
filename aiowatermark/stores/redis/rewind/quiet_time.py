"""Quiet time: for one lease after a rewind nothing new is opened, so that living owners can write their records back.

The server holds the quiet time in a key that expires on its own clock (NOTE_SERVER), so that it binds all replicas.
Each learns what is left of it when it opens its store and when it notices a rewind itself, which is before it sends its
first command to the server that was rewound.

    what the server's data name as its last run id       quiet time
    this run                                              what is left of the one that runs already
    another run, or none although there are accounts      one lease
    nothing: a new prefix, or a server that lost all      one lease since the server's start
    anything, and this replica has noticed a rewind       one lease
"""

from __future__ import annotations

import asyncio

from attrs import define, field


@define(eq=False)
class QuietTime:
    """How long nothing new may be opened, on the loop's clock."""

    _until: float = field(default=0.0, init=False)

    @property
    def seconds_left(self) -> float:
        """Seconds until keys may be opened; 0 if they may be opened now."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def extend(self, seconds: float) -> None:
        """Open nothing for the next `seconds`."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    async def wait(self) -> None:
        """Wait until the quiet time is over, also if it is extended meanwhile."""
        while (seconds := self.seconds_left) > 0:  # noqa: ASYNC110 - it ends at a time, not with an event
            await asyncio.sleep(seconds)
