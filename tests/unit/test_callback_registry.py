"""The callback registry: one table of keys, forwarders with an owner each, and no web framework."""

from __future__ import annotations

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.registry import CallbackRegistry, registry_of
from tests.support.processes import run_python

DELIVERY = aw.Delivery(b"{}", "application/json")
UNKNOWN_KEY = "a" * 32


@pytest.fixture
def registry() -> CallbackRegistry:
    return registry_of(aw.CallbackReceiver("https://hooks.example"))


class Replica:
    """Another process, which expects every key or none; or cannot be reached."""

    def __init__(self, *, expects: bool, error: aw.WatermarkError | None = None) -> None:
        self.expects = expects
        self.error = error
        self.asked = 0

    async def forward(self, key_hash: str, delivery: aw.Delivery) -> bool:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.expects


async def test_importing_the_registry_imports_no_web_framework() -> None:
    program = (
        "import sys, aiowatermark.callbacks.registry; sys.exit(bool({'aiohttp', 'starlette'} & sys.modules.keys()))"
    )
    assert (await run_python("-c", program)).code == 0


async def test_a_delivery_for_an_unknown_key_is_forwarded_until_a_replica_expects_it(
    registry: CallbackRegistry,
) -> None:
    replicas = [Replica(expects=False), Replica(expects=True), Replica(expects=True)]
    for replica in replicas:
        registry.add_forwarder(replica.forward)
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 200
    assert [replica.asked for replica in replicas] == [1, 1, 0]
    assert registry.counts["elsewhere"] == 1


async def test_removing_one_forwarder_leaves_the_others(registry: CallbackRegistry) -> None:
    first, second = Replica(expects=True), Replica(expects=True)
    remove_first = registry.add_forwarder(first.forward)
    registry.add_forwarder(second.forward)
    remove_first()
    remove_first()
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 200
    assert (first.asked, second.asked) == (0, 1)


async def test_a_forwarder_that_fails_does_not_stop_the_next(registry: CallbackRegistry) -> None:
    registry.add_forwarder(Replica(expects=False, error=aw.StoreError("unreachable")).forward)
    registry.add_forwarder(Replica(expects=True).forward)
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 200


async def test_without_forwarders_an_unknown_key_is_answered_404(registry: CallbackRegistry) -> None:
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 404


def test_the_receiver_shows_only_what_an_application_needs() -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    public = {name for name in dir(receiver) if not name.startswith("_")}
    assert public == {"public_url", "receive", "deliveries", "on_result", "setup", "asgi", "counts"}
