"""A script that uses the synchronous client and ends in one of several ways; see test_processes.py.

python calling_process.py WAY BASE_URL KEY STORE
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

import aiowatermark as aw
from aiowatermark import sync
from aiowatermark.emulator import pictures

PHOTO = pictures.sample_photo()


def wait_for_result(client: sync.Client) -> None:
    """Wait until a signal interrupts it."""
    with client:
        print("open", flush=True)
        client.remove(PHOTO, key="order-1")


def read_stream(client: sync.Client) -> None:
    """Wait for the outcomes of a stream until a signal interrupts it."""
    with client:
        print("open", flush=True)
        list(client.stream([PHOTO], key=lambda _: "order-1"))


def exit_without_close(client: sync.Client) -> None:
    """Submit a job, and leave the client open."""
    client.open().submit(PHOTO, key="order-1")


def exit_by_an_error(client: sync.Client) -> None:
    """Leave the client open while a thread waits for a result."""
    handle = client.open().submit(PHOTO, key="order-1")

    def wait() -> None:
        with suppress(aw.WatermarkError):  # the client is closed when the interpreter exits
            handle.result()

    threading.Thread(target=wait, daemon=True).start()
    raise SystemExit(3)


def fork(client: sync.Client) -> None:
    """Use, and leave, the client in a child of a fork; then use it in the parent."""
    with client:
        if (child := os.fork()) == 0:
            try:
                client.credits()
            except aw.InvalidInput as error:
                print("child:", error.message, flush=True)
            client.close()
            os._exit(7)
        _, status = os.waitpid(child, 0)
        print("exit code of the child:", os.waitstatus_to_exitcode(status))
        print("parent:", client.credits().available)


if __name__ == "__main__":
    way, base_url, key, store = sys.argv[1:]
    provider = aw.Kaze(key, base_url=base_url, requests_per_second=None, polling=aw.Polling(first=0.02))
    client = sync.Client(provider, store=aw.SQLiteStore(Path(store)))
    try:
        globals()[way](client)
    except KeyboardInterrupt:
        traceback.print_exc()
        print("interrupted; threads:", sorted(thread.name for thread in threading.enumerate()))
