"""Account pools: the submit slots and the rate limit of each account that this replica uses."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from .membership import Membership
from .rate_limiter import SharedRateLimiter
from .semaphore import SharedSemaphore


@define(eq=False)
class AccountPool:
    """The semaphore and the rate limiter of one account."""

    semaphore: SharedSemaphore
    rate_limiter: SharedRateLimiter


@define(eq=False)
class AccountPools:
    """Creates the pool of an account when it is first used; passes to it what heartbeats and other replicas report.

    It observes the heartbeats of `membership` and handles the messages `want`, `free` and `hold`. Both give accounts by
    their digests; accounts that are not used here are ignored.
    """

    membership: Membership
    _pools: dict[str, AccountPool] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Observe the heartbeats and the messages of other replicas."""
        self.membership.add_observer(self)
        self.membership.pubsub.on("want", self._on_demand)
        self.membership.pubsub.on("free", self._on_release)
        self.membership.pubsub.on("hold", self._on_pause)

    def pool(self, account: str) -> AccountPool:
        """Return the pool of an account, given by its name."""
        name = self.membership.join_account(account)
        known = self._pools.get(name)
        if known is None:
            known = AccountPool(SharedSemaphore(self.membership, name), SharedRateLimiter(self.membership, name))
            self._pools[name] = known
        return known

    # HeartbeatObserver

    def on_demand_elsewhere(self, account: str, demand: bool) -> None:  # noqa: FBT001
        """Note whether another replica waits for a slot of the account."""
        if (known := self._pools.get(account)) is not None:
            known.semaphore.on_demand_elsewhere(demand)

    def resync(self) -> None:
        """Report the slots in use again."""
        # a schedule needs no report: it is in Redis, or starts afresh
        for pool in self._pools.values():
            pool.semaphore.resync()

    def stop(self) -> None:
        """Fail all waiters: the store is closing."""
        for pool in self._pools.values():
            pool.semaphore.stop()
            pool.rate_limiter.stop()

    # messages of other replicas

    def _on_demand(self, arguments: list[Any], _: bytes) -> None:
        account, *_later_versions = arguments
        self.on_demand_elsewhere(account, demand=True)

    def _on_release(self, arguments: list[Any], _: bytes) -> None:
        # without an account, a replica has closed and returned the slots of all of them
        for name in arguments or list(self._pools):
            if (known := self._pools.get(name)) is not None:
                known.semaphore.on_release_elsewhere()

    def _on_pause(self, arguments: list[Any], _: bytes) -> None:
        account, seconds, *_later_versions = arguments
        if (known := self._pools.get(account)) is not None:
            known.rate_limiter.on_pause(float(seconds))
