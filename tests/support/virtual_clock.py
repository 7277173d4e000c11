"""An event loop whose clock jumps to the next timer, so that a day of waiting takes milliseconds."""

from __future__ import annotations

import asyncio
from selectors import BaseSelector, SelectorKey
from typing import Any


class _JumpingSelector:
    """A selector that never waits: when nothing is ready, the loop's time jumps to its next timer."""

    def __init__(self, inner: BaseSelector) -> None:
        self.inner = inner
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if timeout is None:
            # no timer is set: only a thread can wake the loop
            return self.inner.select(5.0)
        events = self.inner.select(0)
        if not events:
            self.now += max(timeout, 0.0)
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on which a day passes in milliseconds; for tests without sockets and threads."""

    def __init__(self) -> None:
        super().__init__()
        selector: Any = self._selector  # type: ignore[has-type]
        self._jumping = self._selector = _JumpingSelector(selector)

    def time(self) -> float:
        return self._jumping.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for threads in real time: by this clock every timeout would expire immediately."""
        executor: Any = getattr(self, "_default_executor", None)
        if executor is not None:
            executor.shutdown(wait=True)
