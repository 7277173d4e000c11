"""Several processes on one SQLite file: a callback that lands at another worker wakes its job."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.stores.sqlite.deliveries import SocketDeliveries
from aiowatermark.testing import ScriptedTransport, json_response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, delivery, scripted_client
from tests.support.processes import start_python
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the system has no Unix sockets")
DONE = delivery(data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"})

OTHER_WORKER = """
import asyncio, sys
import aiowatermark as aw

async def main(path, key):
    receiver = aw.CallbackReceiver("https://hooks.example.com/wm")
    provider = aw.PicWish("canary-1", base_url="http://127.0.0.1:9")
    async with aw.Client(provider, callbacks=receiver, store=aw.SQLiteStore(path)):
        print(await receiver.receive(key, aw.Delivery(b"{}")))

asyncio.run(main(*sys.argv[1:]))
"""


def worker(transport: ScriptedTransport, path: Path, **settings: Any) -> tuple[aw.CallbackReceiver, aw.Client]:
    receiver = aw.CallbackReceiver("https://hooks.example.com/wm")
    return receiver, scripted_client(transport, callbacks=receiver, store=aw.SQLiteStore(path), **settings)


def key_of(transport: ScriptedTransport) -> str:
    body: Any = transport.requests[0].body
    return str(body.fields["callback_url"]).rpartition("/")[2]


@pytest.fixture
def waiting() -> ScriptedTransport:
    """A transport whose one job is done as soon as it is asked about; polls come after 30 s only."""
    return ScriptedTransport([ACCEPTED], [FINISHED])


async def test_a_callback_at_another_worker_wakes_its_job(waiting: ScriptedTransport, tmp_path: Path) -> None:
    _, first = worker(waiting, tmp_path / "jobs.db")
    other, second = worker(ScriptedTransport(), tmp_path / "jobs.db")
    async with first, second:
        handle = await first.submit(LINK)
        assert await other.receive(key_of(waiting), DONE) == 200
        # much less than the 30 s until the first poll
        assert (await handle.result(timeout=10)).url == "https://x.example/a"
        assert await other.receive("x" * 32, DONE) == 404


async def test_a_callback_at_another_process_wakes_its_job(waiting: ScriptedTransport, tmp_path: Path) -> None:
    _, first = worker(waiting, tmp_path / "jobs.db")
    async with first:
        handle = await first.submit(LINK)
        running = await start_python("-c", OTHER_WORKER, str(tmp_path / "jobs.db"), key_of(waiting))
        assert (await handle.result(timeout=25)).url == "https://x.example/a"
        finished = await running.finish()
    assert (finished.code, finished.out.strip()) == (0, "200"), finished.text


async def test_a_trusted_callback_ends_its_job_from_another_worker(tmp_path: Path) -> None:
    transport = ScriptedTransport([ACCEPTED], [json_response(500)])
    receiver = aw.CallbackReceiver("https://hooks.example.com/wm", verify=False)
    first = scripted_client(transport, callbacks=receiver, store=aw.SQLiteStore(tmp_path / "jobs.db"))
    other, second = worker(ScriptedTransport(), tmp_path / "jobs.db")
    async with first, second:
        handle = await first.submit(LINK)
        assert await other.receive(key_of(transport), DONE) == 200
        assert (await handle.result(timeout=10)).url == "https://x.example/a"
    assert not [request for request in transport.requests if request.repeatable]


async def test_sockets_of_dead_processes_are_removed_and_of_closed_clients_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jobs.db-callbacks"
    received: list[str] = []
    async with SocketDeliveries(folder, lambda callback, _: received.append(callback)):
        assert folder.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as dead:
            monkeypatch.chdir(folder)  # paths of sockets must be short
            dead.bind("dead.socket")
        async with SocketDeliveries(folder, lambda *_: None) as sender:
            await sender.publish("c" * 32, aw.Delivery(b"\xff" * (64 << 10), "text/plain"))
            await wait_until(lambda: received)
        assert len(list(folder.iterdir())) == 1
    assert received == ["c" * 32]
    assert list(folder.iterdir()) == []


async def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / "jobs.db-callbacks"
    folder.parent.mkdir()
    received: list[aw.Delivery] = []
    sent = aw.Delivery(b"{}", "application/json")
    async with (
        SocketDeliveries(folder, lambda _, delivered: received.append(delivered)),
        SocketDeliveries(folder, lambda *_: None) as sender,
    ):
        await sender.publish("c" * 32, sent)
        await wait_until(lambda: received)
    assert received == [sent]


@pytest.mark.parametrize("message", [b"", b"\n", b"{}\n", b"[]\n", b"x" * 300_000, b'{"callback": 1, "body": "a"}\n'])
async def test_a_message_that_is_malformed_is_ignored(tmp_path: Path, message: bytes) -> None:
    received: list[object] = []
    async with SocketDeliveries(tmp_path / "jobs.db-callbacks", lambda *pair: received.append(pair)) as channel:
        reader, writer = await asyncio.open_unix_connection(channel._address(channel._name))
        writer.write(message)
        writer.write_eof()
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()
    assert received == []


async def test_a_folder_that_cannot_be_used_leaves_jobs_to_polling(
    waiting: ScriptedTransport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "jobs.db-callbacks").write_text(json.dumps("a file"))
    _, client = worker(waiting, tmp_path / "jobs.db", polling=aw.Polling(0.1, 1, 0.1))
    async with client:
        assert (await client.remove(LINK, deadline=20)).url
    assert "callbacks are not passed on between processes" in caplog.text
    assert registry_of(worker(waiting, tmp_path / "x.db")[0]).expected == 0
