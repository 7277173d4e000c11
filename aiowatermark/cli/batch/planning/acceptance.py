"""Acceptance: which inputs the SDK would refuse, found out without sending anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from attrs import define

from .... import Media, Provider, TransferFailed, WatermarkError
from ....client.engine.prepare import JobPreparer
from ..advice import reason_of
from ..items import BatchItem, Plan

_CONCURRENT = 8


class _NoTransport:
    """Stands for the transport where nothing may be sent."""

    async def read(self, url: str, max_bytes: int) -> NoReturn:  # noqa: ARG002 - the transport's signature
        """Refuse: a mask that is a URL would be downloaded."""
        raise TransferFailed("a dry run downloads nothing")


@define(eq=False)
class AcceptanceCheck:
    """Prepares the jobs of a run as the client does, but for the hashing of their content."""

    provider: Provider
    mask: Media | None
    options: Mapping[str, Any]
    can_serve_files: bool

    async def check(self, items: Sequence[BatchItem]) -> dict[BatchItem, str]:
        """Return why items would be refused; items that are done, open or in doubt are not checked."""
        transport: Any = _NoTransport()
        preparer = JobPreparer(self.provider, transport, self.can_serve_files)
        pending = iter([item for item in items if item.plan in {Plan.NEW, None}])
        refusals: dict[BatchItem, str] = {}

        async def work() -> None:
            for item in pending:
                if not item.problem and item.error is None:
                    item.error = await self._find_problem(preparer, item)
                if item.problem or item.error is not None:
                    refusals[item] = item.problem or reason_of(item)

        await asyncio.gather(*(work() for _ in range(_CONCURRENT)))
        return refusals

    async def _find_problem(self, preparer: JobPreparer, item: BatchItem) -> Exception | None:
        try:
            await preparer.prepare(item.source, self.mask, None, self.options)
        except (WatermarkError, OSError, ValueError) as error:
            return error
        return None
