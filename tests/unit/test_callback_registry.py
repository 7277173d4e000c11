"""The callback registry: one table of keys, forwarders with an owner each, and no web framework."""

from __future__ import annotations

import asyncio

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
    """The store of a client and the processes on it; it knows every key or none, or cannot be reached."""

    def __init__(self, *, expects: bool, error: aw.WatermarkError | None = None) -> None:
        self.expects = expects
        self.error = error
        self.asked = 0
        self.forwarded: list[aw.Delivery] = []

    async def knows(self, key_hash: str) -> bool:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.expects

    async def forward(self, key_hash: str, delivery: aw.Delivery) -> bool:
        if self.error is not None:
            raise self.error
        self.forwarded.append(delivery)
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
        registry.add_forwarder(replica)
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 200
    assert [replica.asked for replica in replicas] == [1, 1, 0]
    assert replicas[1].forwarded == [DELIVERY]
    assert registry.counts["elsewhere"] == 1


async def test_removing_one_forwarder_leaves_the_others(registry: CallbackRegistry) -> None:
    first, second = Replica(expects=True), Replica(expects=True)
    remove_first = registry.add_forwarder(first)
    registry.add_forwarder(second)
    remove_first()
    remove_first()
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 200
    assert (first.asked, second.asked) == (0, 1)


async def test_a_forwarder_that_fails_does_not_stop_the_next(registry: CallbackRegistry) -> None:
    registry.add_forwarder(Replica(expects=False, error=aw.StoreError("unreachable")))
    registry.add_forwarder(Replica(expects=True))
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 200


async def test_without_forwarders_an_unknown_key_is_answered_404(registry: CallbackRegistry) -> None:
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 404


async def test_no_body_of_an_unknown_key_reaches_a_store(registry: CallbackRegistry) -> None:
    replica = Replica(expects=False)
    registry.add_forwarder(replica)
    assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 404
    assert replica.forwarded == []


def key_of(registry: CallbackRegistry, store_secret: bytes | None = None) -> str:
    return registry.create_url(store_secret)[0].rpartition("/")[2]


class TestSignedKeys:
    """Which keys cause a query of a store, by where the secret comes from."""

    SECRET = "the secret of all replicas"

    def receiver(self, secret: str | None = SECRET) -> CallbackRegistry:
        return registry_of(aw.CallbackReceiver("https://hooks.example", secret=secret))

    async def test_a_key_that_is_not_signed_with_the_receivers_secret_causes_no_query(self) -> None:
        registry, replica = self.receiver(), Replica(expects=True)
        registry.add_forwarder(replica)
        for key in (UNKNOWN_KEY, key_of(self.receiver("another secret, also long"))):
            assert await registry.receive(key, DELIVERY) == 404
        assert replica.asked == 0

    async def test_replicas_with_the_same_secret_accept_one_anothers_keys(self) -> None:
        registry = self.receiver()
        registry.add_forwarder(Replica(expects=True))
        assert await registry.receive(key_of(self.receiver()), DELIVERY) == 200

    async def test_the_secret_of_the_store_does_the_same_without_one_of_the_receiver(self) -> None:
        registry, replica, secret = self.receiver(None), Replica(expects=True), b"s" * 32
        registry.add_forwarder(replica, secret)
        assert await registry.receive(UNKNOWN_KEY, DELIVERY) == 404
        assert replica.asked == 0
        assert await registry.receive(key_of(self.receiver(None), secret), DELIVERY) == 200

    async def test_each_store_is_asked_about_its_own_keys_only(self) -> None:
        registry, secrets = self.receiver(None), (b"a" * 32, b"b" * 32)
        stores = [Replica(expects=True), Replica(expects=True)]
        for store, secret in zip(stores, secrets, strict=True):
            registry.add_forwarder(store, secret)
        assert await registry.receive(key_of(registry, secrets[1]), DELIVERY) == 200
        assert [store.asked for store in stores] == [0, 1]

    async def test_a_store_without_a_secret_is_asked_about_keys_of_an_earlier_process(self) -> None:
        registry = self.receiver(None)
        registry.add_forwarder(Replica(expects=True))
        assert await registry.receive(key_of(self.receiver(None)), DELIVERY) == 200

    async def test_a_job_that_was_recovered_gets_callbacks_signed_with_an_earlier_secret(self) -> None:
        url, key_hash = self.receiver("the secret of last year").create_url()
        deliveries: list[aw.Delivery] = []
        registry = self.receiver()
        registry.expect(key_hash, deliveries.append)
        assert await registry.receive(url.rpartition("/")[2], DELIVERY) == 200
        assert deliveries == [DELIVERY]

    @pytest.mark.parametrize("secret", ["short", b"", "fifteen bytes.."])
    def test_a_short_secret_is_refused(self, secret: str | bytes) -> None:
        with pytest.raises(aw.InvalidInput, match="secret"):
            aw.CallbackReceiver("https://hooks.example", secret=secret)

    def test_the_secret_is_not_shown(self) -> None:
        receiver = aw.CallbackReceiver("https://hooks.example", secret="canary-secret-of-replicas")
        assert "canary" not in repr(receiver) + repr(vars(receiver))


class TestOtherThreads:
    """Deliveries received on another event loop, as a threaded web framework does."""

    async def test_the_handler_runs_on_the_loop_of_its_client(self, registry: CallbackRegistry) -> None:
        loops = asyncio.Queue[asyncio.AbstractEventLoop]()
        url, key_hash = registry.create_url()
        registry.expect(key_hash, lambda _: loops.put_nowait(asyncio.get_running_loop()))
        assert await asyncio.to_thread(receive_in_new_loop, registry, url) == 200
        assert await loops.get() is asyncio.get_running_loop()

    async def test_a_store_is_asked_on_the_loop_of_its_client(self, registry: CallbackRegistry) -> None:
        loops: list[asyncio.AbstractEventLoop] = []

        class Store(Replica):
            async def knows(self, key_hash: str) -> bool:
                loops.append(asyncio.get_running_loop())
                return await super().knows(key_hash)

        registry.add_forwarder(Store(expects=True))
        assert await asyncio.to_thread(receive_in_new_loop, registry, f"/{UNKNOWN_KEY}") == 200
        assert loops == [asyncio.get_running_loop()]

    def test_a_client_whose_loop_is_closed_knows_nothing(self, registry: CallbackRegistry) -> None:
        async def register() -> str:
            registry.add_forwarder(Replica(expects=True))
            url, key_hash = registry.create_url()
            registry.expect(key_hash, lambda _: pytest.fail("the handler's loop is closed"))
            return url

        url = asyncio.run(register())
        assert receive_in_new_loop(registry, f"/{UNKNOWN_KEY}") == 404
        assert receive_in_new_loop(registry, url) == 200


def receive_in_new_loop(registry: CallbackRegistry, url: str) -> int:
    return asyncio.run(registry.receive(url.rpartition("/")[2], DELIVERY), debug=True)


def test_the_receiver_shows_only_what_an_application_needs() -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    public = {name for name in dir(receiver) if not name.startswith("_")}
    assert public == {"public_url", "receive", "deliveries", "on_result", "setup", "asgi", "counts"}


@pytest.mark.parametrize("url", ["https://u:canary@host/wm", "https://:canary@host/wm", "https://host/wm?token=canary"])
def test_a_secret_in_a_public_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(aw.InvalidInput, match="public_url") as caught:
        aw.CallbackReceiver(url)
    assert "canary" not in str(caught.value)
