"""What type checkers know of the synchronous client; checked by mypy and pyright, and never run."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import assert_type

import aiowatermark as aw
from aiowatermark import sync
from aiowatermark.emulator import Emulator


def use_client(provider: aw.Provider) -> None:
    with sync.Client(provider, limits=aw.Limits(in_flight=2), store=aw.SQLiteStore("jobs.db")) as client:
        assert_type(client, sync.Client)
        result = client.remove("photo.jpg", mask=Path("mask.png"), key="order-4711", deadline=60)
        assert_type(result, sync.Result)
        assert_type(result.save("clean.jpg"), Path)
        assert_type(result.read(max_bytes=10), bytes)
        assert_type(client.refine(result, brush=b""), sync.Result)
        handle = client.submit(b"")
        assert_type(handle, sync.JobHandle)
        assert_type(handle.result(timeout=1.0), sync.Result)
        assert_type(handle.updates(), Generator[aw.Snapshot, None, None])
        assert_type(client.credits(), aw.Credits)
        assert_type(client.recover().finished, list[sync.Result])
        assert_type(client.drain(5), bool)
        assert_type(aw.remove("photo.jpg", "clean.jpg", provider="picwish"), Path)
        for outcome in client.stream([1, 2], media=str, key=str):
            match outcome:
                case sync.Done(item, result):
                    assert_type(item, int)
                    assert_type(result, sync.Result)
                case sync.Failed(item, error):
                    assert_type(item, int)
                    assert_type(error, aw.WatermarkError)
    with sync.open_in_thread(Emulator()) as emulator:
        assert_type(emulator, Emulator)


def misuse_client(client: sync.Client, result: aw.Result) -> None:
    client.remove()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.remove("photo.jpg", snyc=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    aw.remove("photo.jpg", "clean.jpg", provider="picwish", sync="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.remove("photo.jpg", key=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.refine(result, brush=b"")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sync.Client()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
